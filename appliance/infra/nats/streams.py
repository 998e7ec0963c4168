"""The streams (DESIGN.md 6) and the bucket of payloads: created when missing, adjusted where that
is safe, refused with one sentence where it is not.  What is safe says stream_rules.py.

No byte limit on PIPELINE: the server's `max_file_store` is the limit, and with `discard new` a full
store refuses messages, so that the spool waits.  TELEMETRY and EVT make room by dropping their
oldest.  Speaks the JSON API itself: nats-py's StreamConfig would drop what a newer server added.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.errors import APIError

from appliance.domain.errors import ConfigError
from appliance.domain.events.durables import PIPELINE, Durable
from appliance.infra.nats.stream_rules import NANOSECONDS, Found, StreamSpec, changes, new_config

TELEMETRY = "TELEMETRY"
BUCKET = "PAYLOADS"
HOUR_S = 3600.0
API_TIMEOUT_S = 5.0
# A payload must be there as long as the message that refers to it, which is published after it.
PAYLOAD_SLACK_S = HOUR_S
log = logging.getLogger("appliance.nats")

# The stream and the subjects of NATS's object store, so that its own tools read it.
PAYLOADS = StreamSpec(
    f"OBJ_{BUCKET}",
    (f"$O.{BUCKET}.C.>", f"$O.{BUCKET}.M.>"),
    72 * HOUR_S + PAYLOAD_SLACK_S,
    "new",
    rollups=True,
)
STREAMS = (
    StreamSpec(PIPELINE, ("pipeline.>",), 72 * HOUR_S, "new"),
    PAYLOADS,
    StreamSpec(TELEMETRY, ("telemetry.>",), 24 * HOUR_S, "old", 512 * 1024 * 1024),
    StreamSpec("REQ", ("req.>",), 24 * HOUR_S, "old"),
    StreamSpec("EVT", ("evt.>",), HOUR_S, "old", 512 * 1024 * 1024),
)

_NAME_IN_USE = 10058
_SUBJECTS_OVERLAP = 10065
_YOURSELF = "create {name} yourself with `--max-bytes`, and it is used"
_ROOM = f"the server or the account has no room for it: raise its JetStream limits, or {_YOURSELF}"
_NO_JETSTREAM = (
    "NATS has no JetStream for this account: start the server with `jetstream { store_dir: … }` in "
    "its configuration, and enable it for the account where there are several"
)
# JetStream's error codes (server/errors.json of nats-server): what to do about each.
_ADVICE: Mapping[int, str] = {
    10002: _ROOM,  # resource limits exceeded for account
    10005: "`[nats] replicas` needs as many servers with JetStream up, and with room",  # no peers
    10023: _ROOM,  # insufficient resources
    10027: "the account may have no more streams: raise its limit",
    10028: _ROOM,  # insufficient memory resources
    10039: _NO_JETSTREAM,
    10047: _ROOM,  # insufficient storage resources
    10074: "`[nats] replicas` above 1 needs a NATS cluster: set it to 1, or join servers to one",
    10076: _NO_JETSTREAM,
    10113: f"the account wants a byte limit on every stream: {_YOURSELF}",
    10120: "the account has no limits for so many replicas: set `[nats] replicas` to what it has",
    10122: f"the account allows fewer bytes a stream: {_YOURSELF}",
}


async def ensure_streams(
    js: JetStreamContext, replicas: int, wall: Callable[[], float] = time.time
) -> None:
    """Every stream is there and as DESIGN.md 6 says; what is refused does not stop the others.

    Raises ConfigError with a sentence for each stream that cannot be made so, nats errors when the
    server cannot answer.  `wall` is Unix seconds: a new PIPELINE counts from its microseconds on.
    """
    found: dict[str, Found] = {}
    refused: list[str] = []
    for spec in STREAMS:
        wanted = _outliving(spec, found.get(PIPELINE)) if spec is PAYLOADS else spec
        try:
            found[spec.name] = await _ensure(js, wanted, replicas, wall)
        except ConfigError as exc:
            refused.append(str(exc))
    if refused:
        raise ConfigError("; ".join(dict.fromkeys(refused)))


async def request(js: JetStreamContext, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of the JetStream API to `what` (`STREAM.INFO.PIPELINE`).  Raises nats errors."""
    data = json.dumps(body).encode() if body else b""
    # Not public in nats-py, and the one way to its errors without its classes of configuration.
    return await js._api_request(f"$JS.API.{what}", data, timeout=API_TIMEOUT_S)


async def consumer_info(js: JetStreamContext, durable: Durable) -> dict[str, Any]:
    """What the server says of it.  Raises nats errors: NotFoundError without it or its stream."""
    return await request(js, f"CONSUMER.INFO.{durable.stream}.{durable.name}", {})


async def _ensure(
    js: JetStreamContext, spec: StreamSpec, replicas: int, wall: Callable[[], float]
) -> Found:
    """Its configuration, as it is now.  Somebody else may create, change or delete it meanwhile:
    then look again."""
    last: APIError | None = None
    for _ in range(5):
        try:
            found = await _look(js, spec.name)
            if found is None:
                return await _create(js, spec, replicas, wall)
            return await _adjust(js, spec, found, replicas)
        except nats.js.errors.NotFoundError as exc:
            last = exc
        except APIError as exc:
            if exc.err_code != _NAME_IN_USE:
                raise await _told(js, spec, exc) from exc
            last = exc
    assert last is not None
    raise last


async def _look(js: JetStreamContext, name: str) -> Found | None:
    try:
        found: Found = (await request(js, f"STREAM.INFO.{name}", {}))["config"]
    except nats.js.errors.NotFoundError:
        return None
    return found


async def _create(
    js: JetStreamContext, spec: StreamSpec, replicas: int, wall: Callable[[], float]
) -> Found:
    config = new_config(spec, replicas)
    if spec.name == PIPELINE:
        # Rows order a conversation by stream sequence: one that was deleted and is made again must
        # not count from 1.  Microseconds stay below 2^53, and no stream takes a million a second.
        config["first_seq"] = int(wall() * 1_000_000)
    created: Found = (await request(js, f"STREAM.CREATE.{spec.name}", config))["config"]
    log.info("stream_created", extra={"stream": spec.name, "replicas": replicas})
    return created


async def _adjust(js: JetStreamContext, spec: StreamSpec, found: Found, replicas: int) -> Found:
    if found["num_replicas"] > replicas:
        # Taking copies away is for whoever added them: it is said, not done.
        fields = {"stream": spec.name, "replicas": found["num_replicas"], "configured": replicas}
        log.warning("stream_has_more_replicas", extra=fields)
    changed = changes(found, spec, replicas)
    if not changed:
        return found
    update = {**found, **changed}
    updated: Found = (await request(js, f"STREAM.UPDATE.{spec.name}", update))["config"]
    log.warning("stream_adjusted", extra={"stream": spec.name, "changed": sorted(changed)})
    return updated


async def _told(js: JetStreamContext, spec: StreamSpec, error: APIError) -> Exception:
    """`error` as a sentence; as it is when it says that the server cannot answer now."""
    if error.err_code == _SUBJECTS_OVERLAP:
        return ConfigError(await _overlap(js, spec))
    if error.err_code is None and error.code is None:  # nobody listens to the JetStream API
        return ConfigError(_NO_JETSTREAM)
    advice = _ADVICE.get(error.err_code or 0)
    if advice is _NO_JETSTREAM:
        return ConfigError(advice)
    if advice is None and (error.code == 503 or error.code is None):
        return error
    advice = (advice or "see `nats stream info {name}`, and change or delete it").format(
        name=spec.name
    )
    return ConfigError(f"NATS refuses the stream {spec.name} ({error.description}): {advice}")


async def _overlap(js: JetStreamContext, spec: StreamSpec) -> str:
    names: list[str] = []
    for subject in spec.subjects:
        answer = await request(js, "STREAM.NAMES", {"subject": subject})
        names += [n for n in answer.get("streams") or [] if n != spec.name and n not in names]
    return (
        f"the stream {spec.name} cannot take {', '.join(spec.subjects)}, because the stream "
        f"{' and '.join(names) or 'of somebody else'} already takes some of it: change its "
        f"subjects or delete it, or give the appliance a NATS account of its own"
    )


def _outliving(payloads: StreamSpec, pipeline: Found | None) -> StreamSpec:
    """Kept longer than any message of PIPELINE, whose age an operator may have raised."""
    max_age: int = (pipeline or {}).get("max_age") or 0
    if pipeline is None:
        return payloads
    return replace(payloads, max_age_s=max_age / NANOSECONDS + PAYLOAD_SLACK_S if max_age else 0.0)
