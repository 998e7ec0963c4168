"""`appliance trace ID`: one exchange as a timeline, by its trace id or its correlation id.

PostgreSQL knows it once the consumer wrote it; before that it is in the stream, before that in the
spool.
"""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec

from appliance.cli.common import add_target, target_config
from appliance.cli.timeline import timeline
from appliance.config.load import default_state
from appliance.config.schema import Config
from appliance.domain.errors import NotFound, PartUnavailable
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.topics import events_of
from appliance.domain.events.trace import CONSUMED, POISONED, SPOOL, STREAM, Traced
from appliance.infra.nats.lookup import find_in_stream
from appliance.infra.postgres.history import History, traced
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.rows import ChatEvent
from appliance.infra.spool.lookup import find_in_spool, find_poisoned

HELP = "show what happened in an exchange, by trace id or correlation id"
_LONGEST_ID = 256
_event = msgspec.json.Decoder(ChatEvent)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """ID, --json, --state, --config."""
    parser.add_argument("id", metavar="ID", help="x-request-id or X-Correlation-ID of the answer")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    add_target(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print every exchange of that id, oldest first; NotFound when there is none."""
    config = target_config(arguments)
    state: Path = arguments.state or default_state()
    spool = Path(config.spool.dir).expanduser() if config.spool.dir else state / "spool"
    identifier: str = arguments.id
    # A lone surrogate (a byte of the command line that is no UTF-8) is not printable either.
    if len(identifier) > _LONGEST_ID or not identifier.isprintable():
        raise NotFound("an id is at most 256 printable characters")
    found, unseen = asyncio.run(_find(config, spool, identifier))
    if not found:
        missing = f" ({'; '.join(unseen)})" if unseen else ""
        raise NotFound(
            f"no exchange has the id {identifier}: it is not in PostgreSQL, in the stream or in "
            f"the spool {spool}{missing}"
        )
    if arguments.json:
        answer = {"id": identifier, "exchanges": [asdict(t) for t in found], "unseen": unseen}
        print(msgspec.json.format(msgspec.json.encode(answer)).decode())
    else:
        print("\n\n".join("\n".join(timeline(t)) for t in found))
        for sentence in unseen:
            print(f"\nnot looked at: {sentence}")
    return 0


async def _find(config: Config, spool: Path, identifier: str) -> tuple[list[Traced], list[str]]:
    """Each exchange once, at the furthest place it has come to; and what could not be looked at."""
    unseen: list[str] = []
    found = await _in_postgres(config, identifier, unseen)
    if any(t.trace_id == identifier for t in found):
        return found, unseen
    written = not unseen
    found += await _in_stream(config, identifier, unseen, unconsumed=written)
    found += await asyncio.to_thread(_in_spool, spool, identifier)
    if not found and written:
        found += await _in_stream(config, identifier, unseen, unconsumed=False)
    first: dict[str, Traced] = {}
    for each in found:
        first.setdefault(each.trace_id, each)
    return sorted(first.values(), key=lambda t: t.occurred_at), unseen


async def _in_postgres(config: Config, identifier: str, unseen: list[str]) -> list[Traced]:
    limits = config.postgres
    async with PostgresPool(limits.dsn, connect_timeout_s=limits.connect_timeout_s) as pool:
        try:
            return await History(pool).find(identifier)
        except PartUnavailable as exc:
            unseen.append(str(exc))
            return []


async def _in_stream(
    config: Config, identifier: str, unseen: list[str], *, unconsumed: bool
) -> list[Traced]:
    try:
        search = await find_in_stream(config.nats, identifier, unconsumed=unconsumed)
    except PartUnavailable as exc:
        if str(exc) not in unseen:
            unseen.append(str(exc))
        return []
    if not search.complete:
        unseen.append("NATS: the stream is long and was not looked through to its end")
    found = []
    for stored in search.found:
        try:
            event = _event.decode(stored.data)
        except msgspec.DecodeError:
            continue
        if identifier in (event.trace_id, event.correlation_id):
            place = CONSUMED if stored.consumed else STREAM
            found.append(traced(event, place, sequence=stored.sequence))
    return found


def _in_spool(directory: Path, identifier: str) -> list[Traced]:
    waiting = [traced(event, SPOOL) for event in _events(find_in_spool(directory, identifier))]
    for exchange, reason in find_poisoned(directory, identifier):
        waiting += [traced(event, POISONED, reason=reason) for event in _events([exchange])]
    return waiting


def _events(exchanges: Sequence[Exchange]) -> list[ChatEvent]:
    """As they would be published."""
    bodies = (next(events_of(exchange), None) for exchange in exchanges)
    return [_event.decode(msgspec.json.encode(body.body)) for body in bodies if body is not None]
