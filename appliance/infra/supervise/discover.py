"""Find the user's own model server on this machine, or look at the one named with `--backend`."""

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

import httpx

from appliance.config.schema import BackendConfig
from appliance.domain.errors import ConfigError

_WITHIN_S = 0.5
_NAMED_WITHIN_S = 3.0
# (name and kind, port): where each server listens when its user changed nothing.
WELL_KNOWN = (("ollama", 11434), ("lmstudio", 1234), ("vllm", 8000), ("llamacpp", 8081))
# Kinds that speak a wire of their own, at the server's root: where they list their models, and
# under which key.
_NATIVE = {"ollama": ("/api/tags", "models")}
_COMMON = ("/models", "data")


async def discover(
    ports: Mapping[str, int] | None = None, *, within_s: float = _WITHIN_S
) -> list[BackendConfig]:
    """The well-known servers that list a model on loopback within `within_s`, in that order.

    `ports` replaces the port of a name.
    """
    found = [
        _backend(name, name, f"http://127.0.0.1:{(ports or {}).get(name, port)}/v1")
        for name, port in WELL_KNOWN
    ]
    async with _client(within_s) as client:
        answers = await asyncio.gather(*(_lists_a_model(client, b) for b in found))
    return [backend for backend, answered in zip(found, answers, strict=True) if answered]


async def named(url: str) -> tuple[BackendConfig, str | None]:
    """The backend `yours` for `--backend URL`, and what is wrong with it, if anything."""
    base = normalised(url)
    async with _client(_NAMED_WITHIN_S) as client:
        backend = _backend("yours", await _kind(client, base), base)
        return backend, await _problem(client, backend)


def normalised(url: str) -> str:
    """`host:port` and `http://host:port/` become `http://host:port/v1`; a path is kept."""
    text = url if "://" in url else f"http://{url}"
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"--backend {url}: not a URL like http://127.0.0.1:8000/v1")
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


def _backend(name: str, kind: str, base: str) -> BackendConfig:
    root = base.removesuffix("/v1") if kind in _NATIVE else base
    return BackendConfig(name=name, kind=kind, base_url=root)


def _client(timeout_s: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=timeout_s, trust_env=False)


async def _kind(client: httpx.AsyncClient, base: str) -> str:
    """llama.cpp alone has /props, vLLM alone /version, Ollama /api/version; the rest speak the
    common dialect."""
    root = base.removesuffix("/v1")
    props, version, ollama = await asyncio.gather(
        _json(client, f"{root}/props"),
        _json(client, f"{root}/version"),
        _json(client, f"{root}/api/version"),
    )
    if "default_generation_settings" in props:
        return "llamacpp"
    if "version" in version:
        return "vllm"
    return "ollama" if "version" in ollama else "openai-compatible"


async def _problem(client: httpx.AsyncClient, backend: BackendConfig) -> str | None:
    path, _ = _NATIVE.get(backend.kind, _COMMON)
    try:
        response = await client.get(f"{backend.base_url}{path}")
    except httpx.HTTPError as exc:
        return f"does not answer: {exc or type(exc).__name__}"
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return "wants a key: name it with api_key in a [[backends]] table and start with --config"
    return None if response.is_success else f"answers GET {path} with status {response.status_code}"


async def _lists_a_model(client: httpx.AsyncClient, backend: BackendConfig) -> bool:
    path, key = _NATIVE.get(backend.kind, _COMMON)
    rows = (await _json(client, f"{backend.base_url}{path}")).get(key)
    return isinstance(rows, list) and any(
        isinstance(row, dict) and (row.get("id") or row.get("name")) for row in rows
    )


async def _json(client: httpx.AsyncClient, url: str) -> Mapping[str, object]:
    """The JSON object at `url`, empty when there is none in time."""
    # httpx's limits are per read; this one is for the whole answer.
    try:
        async with asyncio.timeout(client.timeout.read):
            found = (await client.get(url)).json()
    except (httpx.HTTPError, ValueError, TimeoutError):
        return {}
    return found if isinstance(found, dict) else {}
