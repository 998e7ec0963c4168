"""Whose errors a path answers with."""

import pytest

from appliance.presentation.surface import SURFACES
from appliance.transport.shapes import Shapes


@pytest.mark.parametrize(
    ("path", "surface"),
    [
        ("/api/chat", "ollama"),
        ("/api/generate", "ollama_generate"),
        ("/api/tags", "ollama"),
        ("/api/blobs/sha256:1", "ollama"),
        ("/apix", "openai_chat"),
        ("/v1/messages/batches", "anthropic_messages"),
        ("/v1/messages/count_tokens", "anthropic_messages"),
        ("/v1/responses", "openai_responses"),
        ("/v1/responses/resp_1/input_items", "openai_responses"),
        ("/", "openai_chat"),
    ],
)
def test_a_path_belongs_to_the_surface_that_has_it_or_its_prefix(path: str, surface: str) -> None:
    assert Shapes(SURFACES).of(path, {}).name == surface
