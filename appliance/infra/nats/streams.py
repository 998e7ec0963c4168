"""The four streams (DESIGN.md 6): created when missing, adjusted where that is safe, refused where
not.

No byte limit on PIPELINE: the server's `max_file_store` is the limit, and with `discard new` a full
store refuses messages, so that the spool waits.  The others make room by dropping their oldest.
"""

import logging
from dataclasses import dataclass

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from appliance.domain.errors import ConfigError

PIPELINE = "PIPELINE"
HOUR_S = 3600.0
DUPLICATE_WINDOW_S = 600.0
log = logging.getLogger("appliance.nats")


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """`max_bytes` -1: the server's own limit."""

    name: str
    subject: str
    max_age_s: float
    discard: DiscardPolicy
    max_bytes: int


STREAMS = (
    StreamSpec(PIPELINE, "pipeline.>", 72 * HOUR_S, DiscardPolicy.NEW, -1),
    StreamSpec("TELEMETRY", "telemetry.>", 24 * HOUR_S, DiscardPolicy.OLD, 512 * 1024 * 1024),
    StreamSpec("REQ", "req.>", 24 * HOUR_S, DiscardPolicy.OLD, -1),
    StreamSpec("EVT", "evt.>", HOUR_S, DiscardPolicy.OLD, 512 * 1024 * 1024),
)


async def ensure_streams(js: JetStreamContext, replicas: int) -> None:
    """Every stream is there and as DESIGN.md 6 says.

    Raises ConfigError when an existing one cannot be made so, nats errors when the server cannot
    answer.
    """
    for spec in STREAMS:
        wanted = _config(spec, replicas)
        try:
            found = (await js.stream_info(spec.name)).config
        except nats.js.errors.NotFoundError:
            await js.add_stream(wanted)
            log.info("stream_created", extra={"stream": spec.name})
            continue
        await _adjust(js, spec, found, wanted)


async def _adjust(
    js: JetStreamContext, spec: StreamSpec, found: StreamConfig, wanted: StreamConfig
) -> None:
    if found.retention != wanted.retention or found.storage != wanted.storage:
        raise ConfigError(
            f"the stream {spec.name} exists with retention {found.retention} and storage "
            f"{found.storage}; it needs limits and file, and NATS cannot change these: "
            f"copy what you need and delete it"
        )
    if _adjustable(found) == _adjustable(wanted):
        return
    subjects = list(dict.fromkeys([*(found.subjects or []), spec.subject]))
    await js.update_stream(wanted.evolve(subjects=subjects))
    log.warning("stream_adjusted", extra={"stream": spec.name})


def _adjustable(config: StreamConfig) -> tuple[object, ...]:
    return (
        config.max_age,
        config.discard,
        config.max_bytes,
        config.duplicate_window,
        config.num_replicas,
        config.allow_direct,
    )


def _config(spec: StreamSpec, replicas: int) -> StreamConfig:
    return StreamConfig(
        name=spec.name,
        subjects=[spec.subject],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=spec.discard,
        max_age=spec.max_age_s,
        max_bytes=spec.max_bytes,
        duplicate_window=DUPLICATE_WINDOW_S,
        num_replicas=replicas,
        allow_direct=True,
    )
