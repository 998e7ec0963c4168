"""One `appliance up` with Dagster before a scripted backend for the whole folder, what is asked of
it, and where pictures and measurements are kept."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ARTEFACTS, ROOT
from tests.e2e.dagster.asking import DOCUMENT, Talk, hold_conversation
from tests.e2e.faults.faulty import Faulty
from tests.fakes.appliance import Appliance
from tests.fakes.browser import Browser
from tests.fakes.dagster_instance import DagsterInstance
from tests.fakes.gateway import backend_config
from tests.fakes.processes import family, proportional, resident, sizes
from tests.fakes.scripted_backend import ScriptedBackend

WITHOUT_BROWSER = "APPLIANCE_WITHOUT_BROWSER"
# What a killed process had in hand comes back after this long.
MORE = "[consumer]\nack_wait_s = 3.0\n[dagster]\nack_wait_s = 3.0\nruns_every_s = 1.0\n"


@pytest.fixture(scope="package")
def artefacts() -> Path:
    """Pictures and measurements, kept after the tests: build/artefacts/dagster of this folder."""
    folder = ARTEFACTS / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="package")
def measured(artefacts: Path) -> Iterator[Callable[[str], None]]:
    """Keeps a line beside the pictures; all of them are said at the end of the tests."""
    lines: list[str] = []
    yield lines.append
    (artefacts / "measured.txt").write_text("\n".join([*lines, ""]))


@pytest.fixture(scope="package")
def scripted() -> Iterator[ScriptedBackend]:
    """Answers everything asked of model `scripted`; a conversation's answers are queued first."""
    with ScriptedBackend() as backend:
        yield backend


@pytest.fixture(scope="package")
def running(
    scripted: ScriptedBackend,
    tmp_path_factory: pytest.TempPathFactory,
    measured: Callable[[str], None],
) -> Iterator[Appliance]:
    """`appliance up`, Dagster included, that knows DOCUMENT."""
    folder = tmp_path_factory.mktemp("dagster")
    config = folder / "dagster.toml"
    config.write_text(backend_config(scripted.base_url) + MORE)
    (folder / "garage.md").write_text(DOCUMENT)
    appliance = Appliance(folder, "--config", str(config), dagster=True)
    with appliance:
        assert appliance.ready["dagster"], appliance.output
        (ready,) = (n for n in appliance.output.splitlines() if n.startswith("ready in"))
        parts = [n.strip() for n in appliance.output.splitlines() if n.startswith("  dagster")]
        measured(f"up: {ready}, and then {'; '.join(parts)}")
        everything = sizes(family(appliance.process.pid), proportional) if appliance.process else []
        measured(
            f"before any run: {_memory(appliance, 'dagster')}, "
            f"{_memory(appliance, 'dagster-code')}; up in all, what processes share counted once, "
            f"{sum(everything) >> 20} MiB"
        )
        ingested = appliance.command("ingest", str(folder / "garage.md"))
        assert ingested.returncode == 0, ingested.stderr
        yield appliance


def _memory(appliance: Appliance, part: str) -> str:
    return f"{part} {resident(appliance.ready['pids'][part]) >> 20} MiB"


@pytest.fixture
def appliance(running: Appliance) -> Iterator[Faulty]:
    """The appliance, whole; frozen parts are thawed at the end of a test that failed."""
    faulty = Faulty(running)
    faulty.wait_whole()
    yield faulty
    faulty.thaw_all()


@pytest.fixture(scope="package")
def dagster(running: Appliance) -> DagsterInstance:
    """Its Dagster, with the code location loaded."""
    instance = DagsterInstance(running.ready["dagster"])
    instance.repository()
    return instance


@pytest.fixture(scope="package")
def talk(running: Appliance, scripted: ScriptedBackend) -> Talk:
    """A conversation about DOCUMENT, with a tool call, held through the gateway."""
    return hold_conversation(running.url, scripted)


@pytest.fixture(scope="package")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser, installed where it is missing."""
    if os.environ.get(WITHOUT_BROWSER) == "1":
        pytest.skip(f"{WITHOUT_BROWSER}=1: the Dagster UI is not looked at")
    installed = subprocess.run(
        [ROOT / "scripts" / "browser"], capture_output=True, text=True, check=False
    )
    assert installed.returncode == 0, f"{installed.stdout[-2000:]}\n{installed.stderr}"
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """The browser; what it asked for before is forgotten."""
    chromium.asked()
    return chromium
