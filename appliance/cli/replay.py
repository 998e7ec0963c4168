"""`appliance replay`: a stretch of PIPELINE runs through the writers again.

What is a row already stays as it is, what is forgotten stays forgotten, and the consumers do not
notice: the stream is read beside them, by direct gets.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

import nats.errors

from appliance.cli.common import add_target, counted, database, kept_config
from appliance.cli.instants import instant
from appliance.cli.progress import Progress, table_lines, written_lines
from appliance.cli.terminal import plain
from appliance.config.schema import Config
from appliance.domain.errors import InvalidRequest, NotFound, PartUnavailable
from appliance.domain.events.delivery import Delivery, Rejected, Written
from appliance.domain.events.durables import DURABLES, PIPELINE
from appliance.domain.instants import told
from appliance.infra.mentions import ids_of
from appliance.infra.nats.objects import PayloadGone, Payloads, is_reference
from appliance.infra.nats.reader.range import Stored, StreamReader, state_of, visit
from appliance.infra.postgres.forget import forgotten_among
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for

HELP = "write events that are still in the stream to PostgreSQL again; nothing is written twice"
ALL = "all"
BATCH_BYTES = 16 * 1024 * 1024  # of events in memory, payloads by reference included
MOST_REASONS = 20
MOST_REASON = 300
_TIMEOUT_S = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--subject, --since, --until, --dry-run, --state, --config."""
    names = ", ".join(durable.name for durable in DURABLES.values())
    moment = partial(instant, now=time.time())
    parser.add_argument(
        "--subject", default=ALL, metavar="S", help=f"a subject, or one of {names}; default: all"
    )
    parser.add_argument(
        "--since",
        type=moment,
        required=True,
        metavar="T",
        help="what the stream took at or after T: 2026-11-21T14:00:00Z, or an age: 90m, 2h, 3d",
    )
    parser.add_argument("--until", type=moment, metavar="T", help="and before T; default: all")
    parser.add_argument("--dry-run", action="store_true", help="only count what would be replayed")
    add_target(parser)


def run(arguments: argparse.Namespace) -> int:
    """1 when an event could not be written: it is a dead letter then."""
    since, until = arguments.since, arguments.until
    if until is not None and until <= since:
        raise InvalidRequest("--until must be later than --since")
    subjects = chosen_subjects(arguments.subject)
    config = kept_config(arguments)
    return asyncio.run(_replay(config, subjects, since, until, dry_run=arguments.dry_run))


def chosen_subjects(name: str) -> Collection[str]:
    """The subjects of a subject, of a durable, or of `all`.  Raises NotFound."""
    chosen = [s for s, durable in DURABLES.items() if name in (ALL, s, durable.name)]
    if not chosen:
        names = ", ".join([ALL, *(durable.name for durable in DURABLES.values())])
        raise NotFound(f"no consumer has the subject {name!r}: it is one of {names}")
    return chosen


async def _replay(
    config: Config, subjects: Collection[str], since: float, until: float | None, *, dry_run: bool
) -> int:
    async with (
        database(config, timeout_s=_TIMEOUT_S) as pool,
        visit(config.nats) as client,
    ):
        if not dry_run:
            await pool.ping()
        state = await state_of(client, PIPELINE)
        if state is None:
            raise NotFound(f"NATS has no stream {PIPELINE}: nothing is kept there")
        if state.first_at is not None and since < state.first_at:
            begins = f"{PIPELINE} begins at {told(state.first_at)}: it has nothing older"
            print(begins, file=sys.stderr)
        replay = Replay(pool, Payloads(client.jetstream(timeout=_TIMEOUT_S)), subjects, dry_run)
        subject = next(iter(subjects)) if len(subjects) == 1 else ">"
        async with StreamReader(client, PIPELINE) as reader:
            with Progress() as progress:
                async for batch in reader.batches(subject=subject, since=since, until=until):
                    await replay.add(batch.messages)
                    progress.show("replayed", replay.messages, batch.left)
    for line in replay.lines():
        print(line)
    return 1 if replay.rejected else 0


class Replay:
    """Messages of `subjects` through their writers.  `messages` counts them, `rejected` counts
    those that became dead letters, by reason."""

    def __init__(
        self, pool: PostgresPool, payloads: Payloads, subjects: Collection[str], dry_run: bool
    ) -> None:
        self.messages = 0
        self.rejected: Counter[str] = Counter()
        self._pool = pool
        self._payloads = payloads
        self._subjects = subjects
        self._dry_run = dry_run
        self._written = Written()
        self._counted: Counter[str] = Counter()
        self._waiting: dict[str, list[Delivery]] = {}
        self._bytes = 0

    async def add(self, messages: Sequence[Stored]) -> None:
        """Write them, in batches of one subject each.  Raises PartUnavailable with what to do."""
        try:
            for stored in messages:
                if stored.subject in self._subjects:
                    await self._add(stored)
            await self._flush()
        except (PartUnavailable, nats.errors.Error) as exc:
            part = exc.part if isinstance(exc, PartUnavailable) else "nats"
            said = "what was replayed until now is kept; run it again, nothing is written twice"
            raise PartUnavailable(f"{exc}; {said}", part=part) from exc

    def lines(self) -> list[str]:
        """What was done, to be printed."""
        if self._dry_run:
            rows = ((subject, str(count)) for subject, count in sorted(self._counted.items()))
            return [*table_lines(("subject", "messages"), rows), "nothing was written"]
        lines = [counted(self.messages, "message"), *written_lines(self._written)]
        for reason, count in self.rejected.most_common(MOST_REASONS):
            lines.append(f"{counted(count, 'dead letter')}: {plain(reason)}")
        if self.rejected:
            lines.append("see `appliance dead-letters list`")
        return lines

    async def _add(self, stored: Stored) -> None:
        self.messages += 1
        self._counted[stored.subject] += 1
        if self._dry_run:
            return
        delivery = Delivery(
            PIPELINE, stored.subject, stored.sequence, 1, stored.event_id, stored.data
        )
        if is_reference(stored.data):
            try:
                data = await self._payloads.resolve(stored.data)
            except PayloadGone as exc:
                await self._bury([Rejected(delivery, str(exc), final=True)])
                return
            delivery = replace(delivery, data=data)
        self._waiting.setdefault(stored.subject, []).append(delivery)
        self._bytes += len(delivery.data)
        if self._bytes >= BATCH_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        waiting, self._waiting, self._bytes = self._waiting, {}, 0
        for subject, batch in waiting.items():
            written = await writer_for(subject, self._pool).write(batch)
            rejected, written.rejected = written.rejected, []
            self._written.add(written)
            await self._bury(rejected)

    async def _bury(self, rejected: Sequence[Rejected]) -> None:
        """What cannot be written becomes a dead letter, unless it is of somebody forgotten."""
        if not rejected:
            return
        ids = {each.delivery.sequence: ids_of(each.delivery.data) for each in rejected}
        gone = await forgotten_among(self._pool, set().union(*ids.values()))
        letters = [each for each in rejected if not ids[each.delivery.sequence] & gone]
        self._written.forgotten += len(rejected) - len(letters)
        for letter in letters:
            self.rejected[letter.reason[:MOST_REASON]] += 1
            await writer_for(letter.delivery.subject, self._pool).bury([letter])
