"""Messages that could not be written: looked at, and tried again.  For `appliance dead-letters`;
`writers/bury.py` keeps them.

Trying again goes through the writer of the subject, which writes nothing twice, so two who replay
the same letter at once need no lock between them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from appliance.domain.events.delivery import BatchWriter, Delivery, Written
from appliance.infra.postgres.payload import storable_text
from appliance.infra.postgres.pool import Connection, PostgresPool
from appliance.infra.postgres.writers.bury import MOST_REASON

PAGE_LETTERS = 500
PAGE_BYTES = 8 * 1024 * 1024
_COLUMNS = """
id, stream, stream_sequence, subject, event_id, trace_id, reason, deliveries, created_at,
    octet_length(payload)
"""
_LIST = f"""
SELECT {_COLUMNS} FROM dead_letters
WHERE id > %(after)s AND (%(subject)s::text IS NULL OR subject = %(subject)s)
ORDER BY id LIMIT %(limit)s
"""
_PAYLOADS = "SELECT id, payload FROM dead_letters WHERE id = ANY(%s)"
_DELETE = "DELETE FROM dead_letters WHERE id = ANY(%s)"
_FAILED = "UPDATE dead_letters SET reason = %s, deliveries = deliveries + 1 WHERE id = %s"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row without its payload, which is `size_bytes` long."""

    id: int
    stream: str
    stream_sequence: int
    subject: str
    event_id: str
    trace_id: str
    reason: str
    deliveries: int
    created_at: datetime
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of some letters: `failed` stay, each with its reason."""

    written: Written
    removed: int
    failed: Sequence[tuple[DeadLetter, str]]


class LetterUnreadable(Exception):
    """A payload cannot be had; `str()` says why."""


Resolve = Callable[[bytes], Awaitable[bytes]]
WriterFor = Callable[[str], BatchWriter | None]


class DeadLetters:
    """The table, through `pool`.  Every method raises PartUnavailable(part="postgres")."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def pages(self, subject: str | None = None) -> AsyncIterator[list[DeadLetter]]:
        """All of them, or those of `subject`, oldest first, a page at a time: at most PAGE_LETTERS
        with payloads of PAGE_BYTES together, a single larger one excepted."""
        after = 0
        while page := await self._page(subject, after):
            after = page[-1].id
            yield page

    async def get(self, letter_id: int) -> tuple[DeadLetter, bytes] | None:
        """A letter and its payload."""
        async with self._pool.transaction() as connection:
            values = {"after": letter_id - 1, "subject": None, "limit": 1}
            row = await (await connection.execute(_LIST.encode(), values)).fetchone()
            if row is None or row[0] != letter_id:
                return None
            payloads = await _payloads(connection, [letter_id])
            return DeadLetter(*row), payloads.get(letter_id, b"")

    async def replay(
        self, letters: Sequence[DeadLetter], writer_for: WriterFor, resolve: Resolve
    ) -> Replayed:
        """Write `letters` of one page: those that are rows now, or belong to somebody who is
        forgotten, are removed; the others keep their place with the new reason.

        `resolve` makes the whole body of a payload, and raises LetterUnreadable.
        """
        async with self._pool.transaction() as connection:
            payloads = await _payloads(connection, [letter.id for letter in letters])
        failed: list[tuple[DeadLetter, str]] = []
        written = Written()
        by_subject: dict[str, list[DeadLetter]] = {}
        for letter in letters:
            if letter.id in payloads:  # nobody removed it meanwhile
                by_subject.setdefault(letter.subject, []).append(letter)
        done: list[int] = []
        for subject, some in by_subject.items():
            writer = writer_for(subject)
            if writer is None:
                failed += [(letter, f"no writer knows the subject {subject}") for letter in some]
                continue
            result, refused = await _write(writer, some, payloads, resolve)
            written.add(result)
            failed += refused
            stay = {letter.id for letter, _ in refused}
            done += [letter.id for letter in some if letter.id not in stay]
        return Replayed(written, await self._settle(done, failed), failed)

    async def _page(self, subject: str | None, after: int) -> list[DeadLetter]:
        values = {"after": after, "subject": subject, "limit": PAGE_LETTERS}
        async with self._pool.transaction() as connection:
            rows = await (await connection.execute(_LIST.encode(), values)).fetchall()
        page: list[DeadLetter] = []
        size = 0
        for letter in (DeadLetter(*row) for row in rows):
            size += letter.size_bytes
            if page and size > PAGE_BYTES:
                break
            page.append(letter)
        return page

    async def _settle(self, done: list[int], failed: Sequence[tuple[DeadLetter, str]]) -> int:
        async with self._pool.transaction() as connection, connection.cursor() as cursor:
            await cursor.execute(_DELETE, (done,))
            removed = cursor.rowcount
            reasons = [(reason[:MOST_REASON], letter.id) for letter, reason in failed]
            if reasons:
                await cursor.executemany(_FAILED, reasons)
        return removed


async def _write(
    writer: BatchWriter, letters: Sequence[DeadLetter], payloads: dict[int, bytes], resolve: Resolve
) -> tuple[Written, list[tuple[DeadLetter, str]]]:
    """What became of letters of one subject, and those that stay."""
    refused: list[tuple[DeadLetter, str]] = []
    letter_of: dict[int, DeadLetter] = {}
    batch: list[Delivery] = []
    for letter in letters:
        try:
            delivery = _delivery(letter, await resolve(payloads[letter.id]))
        except LetterUnreadable as exc:
            refused.append((letter, str(exc)))
            continue
        letter_of[id(delivery)] = letter
        batch.append(delivery)
    if not batch:
        return Written(), refused
    written = await writer.write(batch)
    rejected, written.rejected = written.rejected, []
    refused += [(letter_of[id(each.delivery)], storable_text(each.reason)) for each in rejected]
    return written, refused


def _delivery(letter: DeadLetter, data: bytes) -> Delivery:
    return Delivery(
        stream=letter.stream,
        subject=letter.subject,
        sequence=letter.stream_sequence,
        deliveries=letter.deliveries + 1,
        event_id=letter.event_id,
        data=data,
    )


async def _payloads(connection: Connection, letters: list[int]) -> dict[int, bytes]:
    found = await connection.execute(_PAYLOADS, (letters,))
    return {row[0]: bytes(row[1]) for row in await found.fetchall()}
