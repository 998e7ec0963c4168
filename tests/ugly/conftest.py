"""Gateways in their own processes before scripted backends of every dialect, for this folder.

`lab` is the usual one; `strict` has keys, small limits and short waits, and fetches private URLs.
A model's name says what happens to it: `on-KIND` is parsed, `raw-KIND` is handed on as it is, and
`first-KIND` is answered by the second backend of that kind when the first one fails, `mixed-KIND`
by one that speaks another wire.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend

KINDS = ("openai-compatible", "openai", "vllm", "gemini", "anthropic", "ollama")
NATIVE = ("anthropic", "ollama")  # configured by their root, without /v1
KEY = "ugly-key"
UPSTREAM = "up"
UNLISTED = "nobody-knows-me:7b"  # on Ollama's list, and in no table


Backends = tuple[dict[str, ScriptedBackend], dict[str, ScriptedBackend]]


@dataclass(frozen=True)
class Lab:
    """A gateway, the first and the second backend of each kind, and a client."""

    gateway: GatewayProcess
    first: dict[str, ScriptedBackend]
    second: dict[str, ScriptedBackend]
    http: httpx.Client


def _tables(kind: str, url: str, other: str) -> str:
    foreign = "anthropic" if kind != "anthropic" else "openai-compatible"
    base = url if kind in NATIVE else f"{url}/v1"
    base2 = other if kind in NATIVE else f"{other}/v1"
    rows = f"""
[[backends]]
name = "{kind}-1"
kind = "{kind}"
base_url = "{base}"
[[backends]]
name = "{kind}-2"
kind = "{kind}"
base_url = "{base2}"
"""
    for name, more in (
        ("on", 'parsers = ["tool_call", "reasoning", "vision"]'),
        ("cut", 'parsers = ["tool_call", "reasoning", "vision", "output"]'),
        ("opened", 'family = "qwen3-thinking"'),
        ("raw", "parsers = []"),
        ("first", f'fallback = ["{kind}-2"]'),
        ("mixed", f'fallback = ["{foreign}-1"]'),
        ("rawmixed", f'parsers = []\nfallback = ["{foreign}-1"]'),
        ("rawfirst", f'parsers = []\nfallback = ["{kind}-2"]'),
    ):
        rows += (
            f'[[models]]\nmatch = "{name}-{kind}"\nbackend = "{kind}-1"\n'
            f'upstream_model = "{UPSTREAM}"\n{more}\n'
        )
    return rows


@pytest.fixture(scope="session")
def backends() -> Iterator[Backends]:
    with ExitStack() as stack:
        first, second = (
            {kind: stack.enter_context(ScriptedBackend(models=[UPSTREAM])) for kind in KINDS}
            for _ in range(2)
        )
        first["ollama"].models.append(UNLISTED)
        yield first, second


def _config(backends: Backends, head: str) -> str:
    first, second = backends
    tables = [_tables(kind, first[kind].url, second[kind].url) for kind in KINDS]
    routing = "[routing]\nretries = 0\neject_after = 100000\nprobe_interval_s = 3600.0\n"
    return "\n".join([routing, head, *tables])


@contextmanager
def _running(folder: Path, backends: Backends, head: str, key: str) -> Iterator[Lab]:
    # One client for all: making one reads the system's certificates.
    with (
        GatewayProcess(folder, _config(backends, head)) as gateway,
        httpx.Client(base_url=gateway.url, timeout=60, headers={"x-api-key": key}) as http,
    ):
        yield Lab(gateway, *backends, http)


@pytest.fixture(scope="session")
def _lab(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with _running(tmp_path_factory.mktemp("ugly"), backends, "", "") as running:
        yield running


@pytest.fixture(scope="session")
def _strict(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("strict")
    keys = folder / "keys.toml"
    keys.write_text(f'[[keys]]\nname = "ann"\nsha256 = "{sha256(KEY.encode()).hexdigest()}"\n')
    head = f"""
[gateway]
keys_file = "{keys}"
max_body_bytes = 65536
header_hold_s = 0.1
keepalive_s = 0.05
[media]
allow_private = true
"""
    with _running(folder, backends, head, KEY) as running:
        yield running


@pytest.fixture
def lab(_lab: Lab) -> Lab:
    return _forgotten(_lab)


@pytest.fixture
def strict(_strict: Lab) -> Lab:
    return _forgotten(_strict)


def _forgotten(lab: Lab) -> Lab:
    """Nothing queued and nothing recorded at any backend."""
    for backend in (*lab.first.values(), *lab.second.values()):
        backend.forget()
    return lab
