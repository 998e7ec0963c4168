"""What a stream must be, field by field: the configuration of a new one, what is changed on one
that exists, and what is refused.  For streams.py; pure, no I/O.

Safe to change is what keeps more and refuses less: a limit is lifted and never tightened, an age is
raised and never shortened, a replica is added and never taken away.  `max_bytes`, `max_msgs`,
`compression`, `placement`, `sources` and `republish` are the operator's and stay as they are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from appliance.domain.errors import ConfigError

NANOSECONDS = 1_000_000_000
DUPLICATE_WINDOW_S = 600.0
# Six durables here, as many again for Dagster, and what people look around with.
CONSUMERS = 32
Found = Mapping[str, Any]  # a stream's configuration, as the JSON of the server says it


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One stream of DESIGN.md 6.  `subjects` overlap with no other's; `max_age_s` 0: for ever;
    `max_bytes` -1: as much as the server has.

    `discard` new: when it is full it refuses, and the publisher waits.  `rollups`: a message may
    replace all earlier ones of its subject.
    """

    name: str
    subjects: tuple[str, ...]
    max_age_s: float
    discard: Literal["new", "old"]
    max_bytes: int = -1
    rollups: bool = False


def new_config(spec: StreamSpec, replicas: int) -> dict[str, Any]:
    """The configuration to create the stream with."""
    return {
        "name": spec.name,
        "subjects": list(spec.subjects),
        "retention": "limits",
        "storage": "file",
        "discard": spec.discard,
        "max_age": round(spec.max_age_s * NANOSECONDS),
        "max_bytes": spec.max_bytes,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_msg_size": -1,
        "max_consumers": -1,
        "duplicate_window": round(DUPLICATE_WINDOW_S * NANOSECONDS),
        "num_replicas": replicas,
        "allow_direct": True,
        "allow_rollup_hdrs": spec.rollups,
    }


def changes(found: Found, spec: StreamSpec, replicas: int) -> dict[str, Any]:
    """What to change on the stream that exists; {} when it serves as it is.

    Raises ConfigError, one sentence, when it cannot be made to serve.
    """
    for rule in _REFUSED:
        if rule.holds(found.get(rule.key)):
            raise ConfigError(f"the stream {spec.name} {rule.wrong}: {_remedy(rule, spec.name)}")
    wanted = {key: value(found.get(key), spec, replicas) for key, value in _ADJUSTED.items()}
    return {key: value for key, value in wanted.items() if _differs(found.get(key), value)}


def covers(pattern: str, subject: str) -> bool:
    """Every subject that matches `subject` matches `pattern` (`*` one token, `>` the rest)."""
    theirs, ours = pattern.split("."), subject.split(".")
    for place, token in enumerate(theirs):
        if token == ">":
            return len(ours) > place
        if place >= len(ours) or ours[place] == ">":
            return False
        if token not in ("*", ours[place]):
            return False
    return len(theirs) == len(ours)


@dataclass(frozen=True, slots=True)
class _Refused:
    """`key` is wrong when `holds` of its value; `wrong` follows the stream's name in a sentence.
    `remedy` "": NATS cannot change it."""

    key: str
    holds: Callable[[Any], bool]
    wrong: str
    remedy: str = ""


_REFUSED = (
    _Refused("mirror", bool, "is a mirror of another stream, so nothing can be published to it"),
    _Refused("sealed", bool, "is sealed, so nothing can be added to it"),
    _Refused("storage", lambda v: v != "file", "is kept in memory, so a restart of NATS loses it"),
    _Refused(
        "retention",
        lambda v: v == "workqueue",
        "has retention workqueue, which deletes what one reader has acked",
    ),
    _Refused(
        "persist_mode",
        lambda v: v == "async",
        "has persist_mode async, which acks what a crash of NATS then loses",
    ),
    _Refused("allow_msg_counter", bool, "holds counters and takes no other message"),
    _Refused("deny_delete", bool, "denies deletes, so `appliance forget` could not delete from it"),
    _Refused("deny_purge", bool, "denies purges, so `appliance forget` could not delete from it"),
    _Refused(
        "subject_transform",
        bool,
        "stores messages under other subjects (subject_transform), where no reader looks",
        "remove the transform (`nats stream edit {name}`)",
    ),
)
_DELETE = (
    "NATS cannot change that, so copy what you need out of it and delete it "
    "(`nats stream rm {name}`); it is then made as it should be"
)


def _remedy(rule: _Refused, name: str) -> str:
    return (rule.remedy or _DELETE).format(name=name)


def _subjects(found: list[str] | None, spec: StreamSpec, _: int) -> list[str]:
    """Theirs, with ours in place of what ours covers.  NATS allows no overlap within a stream."""
    theirs = found or []
    missing = [s for s in spec.subjects if not any(covers(pattern, s) for pattern in theirs)]
    if len(missing) == len(spec.subjects) and not any(
        covers(s, t) for s in missing for t in theirs
    ):
        raise ConfigError(
            f"the stream {spec.name} takes {', '.join(theirs) or 'no subjects'} and not "
            f"{', '.join(spec.subjects)}, so it is somebody else's: rename or delete that one, "
            f"or give the appliance a NATS account of its own"
        )
    kept = [t for t in theirs if not any(covers(s, t) for s in missing)]
    return kept + missing


def _age(found: int | None, spec: StreamSpec, _: int) -> int:
    """The longer of theirs and ours; 0 is for ever."""
    ours = round(spec.max_age_s * NANOSECONDS)
    return 0 if not found or not ours else max(found, ours)


def _unlimited(found: int | None, _: StreamSpec, __: int) -> int:
    """NATS takes 0 for no limit as well."""
    return -1 if found is None or found > 0 else found


def _window(found: int | None, _: StreamSpec, __: int) -> int:
    """Never above `max_age`, which is an hour at the least once it is adjusted."""
    return max(found or 0, round(DUPLICATE_WINDOW_S * NANOSECONDS))


def _discard(found: str | None, spec: StreamSpec, _: int) -> str:
    """One that refuses where ours would drop is left: that is stricter, not less."""
    return spec.discard if spec.discard == "new" else found or "old"


def _consumers(found: int | None, _: StreamSpec, __: int) -> int:
    """Lifted only when it is too low: NATS changes it since 2.12.5 alone."""
    return -1 if found is None or 0 < found < CONSUMERS else found


# In the order of `nats stream info`.  Each: from the value found to the value wanted.
_ADJUSTED: Mapping[str, Callable[[Any, StreamSpec, int], Any]] = {
    "subjects": _subjects,
    "retention": lambda *_: "limits",  # interest: deletes what every consumer of the moment acked
    "max_consumers": _consumers,
    "max_age": _age,
    "max_msgs_per_subject": _unlimited,  # drops the oldest, even where the stream discards new
    "max_msg_size": _unlimited,  # what exceeds it is refused for ever
    "discard": _discard,
    "discard_new_per_subject": lambda *_: False,  # is not valid without max_msgs_per_subject
    "no_ack": lambda *_: False,
    "duplicate_window": _window,
    "num_replicas": lambda found, _, replicas: max(found or 1, replicas),
    "allow_direct": lambda *_: True,
    "allow_rollup_hdrs": lambda found, spec, _: bool(found or spec.rollups),
    "consumer_limits": lambda *_: {},  # a durable that idles, or holds a batch, must stay
}


def _differs(found: Any, wanted: Any) -> bool:
    """The server leaves out what is false, empty, or nothing."""
    return bool((found or wanted) and found != wanted)
