"""What Ollama's clients see of the models: /api/tags, /api/show, /api/ps and /api/version; pure.

A backend of this dialect tells of its models itself.  Of any other what nobody knows is left out,
save for the fields of a list that clients cannot do without.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from appliance.domain.errors import InvalidRequest, ModelNotFound
from appliance.domain.routing.models import Known, Running
from appliance.domain.routing.names import LATEST, has_tag
from appliance.domain.routing.router import NamedModel
from appliance.presentation.json_body import convert, decode_object
from appliance.presentation.ollama.wire import WireNamed

# The Ollama whose routes these are, its /v1 ones included: clients refuse what they take for old.
WIRE_VERSION = "0.14.0"
_UNKNOWN_ARCHITECTURE = "unknown"
# As Ollama tells of one it keeps: `ollama ps` takes a row without a time for one that is leaving.
_NEVER = "2318-01-01T00:00:00Z"
_CAPABILITIES = {"tools": "tools", "vision": "vision", "reasoning": "thinking"}


def tags(models: Sequence[NamedModel], since: int) -> bytes:
    """Every name with a tag; `since`, Unix seconds, stands for a time that nobody told."""
    return msgspec.json.encode({"models": [_tagged(model, since) for model in models]})


def decode_named(body: bytes) -> str:
    """The name asked for.  Raises InvalidRequest."""
    wire = convert(decode_object(body), WireNamed)
    name = wire.model or wire.name
    if not name:
        raise InvalidRequest("model is required", param="model")
    return name


def show(known: Known, since: int) -> bytes:
    """What its backend says of it, or what the gateway knows."""
    if known.shown is not None:
        return msgspec.json.encode(known.shown)
    model = known.model
    architecture = model.family or _UNKNOWN_ARCHITECTURE
    info: dict[str, Any] = {"general.architecture": architecture, "general.basename": model.name}
    if model.context_window:
        info[f"{architecture}.context_length"] = model.context_window
    return msgspec.json.encode(
        {
            "modified_at": _time(since),
            "details": _details(model.family),
            "model_info": info,
            "capabilities": _capabilities(model),
        }
    )


def running(models: Sequence[Running]) -> bytes:
    """Those known to be in some backend's memory; only Ollama tells when one will leave it."""
    return msgspec.json.encode({"models": [_running(model) for model in models]})


def version() -> bytes:
    """`{"version": "…"}`."""
    return msgspec.json.encode({"version": WIRE_VERSION})


def pulled() -> bytes:
    """The last line of a pull, which is all there is to say of a model that is there."""
    return b'{"status":"success"}\n'


def not_found(name: str) -> ModelNotFound:
    """In the words that clients look for."""
    return ModelNotFound(f"model '{name}' not found", param="model")


def _tagged(model: NamedModel, since: int) -> dict[str, Any]:
    name = tagged(model.name)
    digest, details = _digest(name), _details(model.family)
    made = {"modified_at": _time(since), "size": 0, "digest": digest, "details": details}
    told = model.details if "digest" in model.details else {}
    row = {"name": name, "model": name, **made, **told}
    row["name"] = row["model"] = name
    if "capabilities" not in row and model.capabilities:
        row["capabilities"] = _capabilities(model)
    return row


def tagged(name: str) -> str:
    """`name` with a tag."""
    return name if has_tag(name) else name + LATEST


def _details(family: str) -> Mapping[str, Any]:
    return {
        "parent_model": "",
        "format": "",
        "family": family,
        "families": [family] if family else [],
        "parameter_size": "",
        "quantization_level": "",
    }


def _capabilities(model: NamedModel) -> list[str]:
    """The gateway asks every model for text, but those of which the catalog says that they embed;
    what else one can do is left out where nobody knows."""
    if "embedding" in model.capabilities:
        return ["embedding"]
    return ["completion", *(w for c, w in _CAPABILITIES.items() if c in model.capabilities)]


def _running(model: Running) -> dict[str, Any]:
    name = tagged(model.name)
    row: dict[str, Any] = {"digest": _digest(name), **model.details}
    if not model.details:
        row |= {"size": 0, "size_vram": 0, "expires_at": _NEVER, "details": _details("")}
        if model.context_window:
            row["context_length"] = model.context_window
    return {**row, "name": name, "model": name}


def _digest(name: str) -> str:
    """Nothing here is a file with a hash, and clients cut twelve letters off it: that of the
    name."""
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
