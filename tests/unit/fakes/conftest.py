"""One running server per test."""

from collections.abc import Iterator

import pytest

from tests.fakes.scripted_backend import ScriptedBackend


@pytest.fixture
def backend() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as backend:
        yield backend
