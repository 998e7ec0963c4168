"""One appliance before a scripted backend for the whole folder, and what is done to it."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.faults.faulty import Faulty
from tests.fakes.appliance import Appliance
from tests.fakes.gateway import backend_config
from tests.fakes.load import Load, script
from tests.fakes.scripted_backend import ScriptedBackend

# A frozen gateway has a second's requests at its door: they are served, not refused.
BACKEND = "max_in_flight = 1024\nmax_queue = 1024\n"
# What a killed consumer had in hand comes back after this long.
MORE = "[consumer]\nack_wait_s = 3.0\n"


@pytest.fixture(scope="package")
def scripted() -> Iterator[ScriptedBackend]:
    """Answers every kind of the load's requests."""
    with ScriptedBackend() as backend:
        script(backend)
        yield backend


@pytest.fixture(scope="package")
def running(
    scripted: ScriptedBackend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Appliance]:
    """`appliance up`."""
    folder = tmp_path_factory.mktemp("faults")
    config = folder / "faults.toml"
    config.write_text(backend_config(scripted.base_url, more=BACKEND) + MORE)
    with Appliance(folder, "--config", str(config)) as appliance:
        yield appliance


@pytest.fixture
def appliance(running: Appliance) -> Iterator[Faulty]:
    """The appliance, whole; frozen parts are thawed at the end of a test that failed."""
    faulty = Faulty(running)
    faulty.wait_whole()
    yield faulty
    faulty.thaw_all()


@pytest.fixture
def traffic(running: Appliance, tmp_path: Path) -> Callable[[], Load]:
    """Begins 50 requests a second: `with traffic() as load`."""
    numbers = itertools.count(1)
    return lambda: Load(running.url, tmp_path, name=f"{tmp_path.name}-{next(numbers)}")
