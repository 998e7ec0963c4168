"""The events of an exchange as a table in text: where each is, who consumes it, what it became.
Pure."""

from collections.abc import Iterator, Mapping, Sequence

from appliance.cli.terminal import columns, flat, padded, wrapped
from appliance.domain.events.trace import (
    CONSUMED,
    DEAD,
    MEASURES,
    MISSING,
    POISONED,
    POSTGRES,
    SPOOL,
    STREAM,
    UNTOLD,
    TracedEvent,
)

HEAD = ("subject", "sequence", "consumer", "state", "rows")
MOST_EVENTS = 200
NOBODY = "nobody: measures alone"  # they are not rows, and age out
_NONE = "none"
_STATES: Mapping[str, str] = {
    POSTGRES: "written",
    DEAD: "dead letter",
    CONSUMED: "acked, no row",
    UNTOLD: "acked",
    STREAM: "not consumed",
    MEASURES: "kept",
    SPOOL: "in the spool",
    POISONED: "set aside",
    MISSING: "not found",
}
_WIDTH = 96


def table(events: Sequence[TracedEvent]) -> Iterator[str]:
    """A line an event, and one more for each further table it has rows in; then, in words, why
    some went no further."""
    lines = [row for event in events[:MOST_EVENTS] for row in cells(event)]
    widths = [
        max(columns(line[at]) for line in [HEAD, *lines] if line[at] != NOBODY)
        for at in range(len(HEAD))
    ]
    for line in [HEAD, *lines]:
        filled = (
            cell if cell == NOBODY else padded(cell, width)
            for cell, width in zip(line, widths, strict=True)
        )
        yield "  ".join(filled).rstrip()
    if len(events) > MOST_EVENTS:
        yield f"… and {len(events) - MOST_EVENTS} more"
    for event in events[:MOST_EVENTS]:
        if said := remark(event):
            yield from wrapped(f"{flat(event.subject)}: {said}", _WIDTH)


def cells(event: TracedEvent) -> list[tuple[str, str, str, str, str]]:
    """The cells of its lines, as HEAD names them."""
    consumer = event.consumer or (_NONE if event.kept else NOBODY)
    first, *more = [f"{name} {count}" for name, count in event.rows.items()] or [""]
    sequence = "" if event.sequence is None else str(event.sequence)
    line = (flat(event.subject), sequence, consumer, state(event), first)
    return [line, *(("", "", "", "", rows) for rows in more)]


def state(event: TracedEvent) -> str:
    """A word or two; of what has rows, whether the consumer has acked it where that is known."""
    if event.place == POSTGRES and event.acked is not None:
        return "acked" if event.acked else "not acked yet"
    return _STATES[event.place]


def remark(event: TracedEvent) -> str:
    """Why it went no further, and where a payload lies that is not in its message; "" when there is
    nothing to say."""
    said = []
    if event.reason:
        said.append(f"{event.place}: {flat(event.reason)}")
    if event.size_bytes is not None:
        said.append(f"its payload of {event.size_bytes} bytes is in the object store")
    return "; ".join(said)
