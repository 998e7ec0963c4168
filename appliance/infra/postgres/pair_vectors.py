"""Gives the pairs of chat_pairs their vectors, oldest first.  Called by the pipelines.

No transaction is open while the vectors are made.  A vector is put to a pair that has none yet and
is still there: two at once never overwrite each other, and what was forgotten stays gone.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from appliance.domain.errors import ContextLengthExceeded, InvalidRequest
from appliance.domain.vectorstore.ports import Vector
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.vectors import vector_text

MOST_COUNTED = 100_000  # that wait; counting on would cost more than it tells
# The model reads 256 tokens, about 1000 characters of English.  Of a long prompt and a long
# response each gets a half; what one does not need the other has.
_MOST_CHARS = 1000
_NO_TEXT = ""  # `embedding_model` of a pair that has nothing to embed
SELECT_WAITING = """
SELECT trace_id, stream_sequence, created_at, left(ltrim(prompt, {blank}), {most}),
    left(ltrim(response, {blank}), {most})
FROM chat_pairs WHERE embedding_model IS NULL ORDER BY stream_sequence, trace_id LIMIT %s
""".format(most=_MOST_CHARS, blank=r"E' \t\r\n'")
_COUNT = """
SELECT count(*) FROM (SELECT FROM chat_pairs WHERE embedding_model IS NULL LIMIT %s) AS waiting
"""
# A row that is locked belongs to somebody who is about to give it a vector or to delete it.
_PUT = """
WITH free AS (
    SELECT trace_id FROM chat_pairs WHERE trace_id = ANY(%(ids)s) AND embedding_model IS NULL
    FOR UPDATE SKIP LOCKED
)
UPDATE chat_pairs p SET embedding = new.vector::vector, embedding_model = new.model
FROM unnest(%(ids)s::text[], %(vectors)s::text[], %(models)s::text[])
    AS new (trace_id, vector, model)
WHERE p.trace_id = new.trace_id AND p.trace_id IN (SELECT trace_id FROM free)
RETURNING p.trace_id
"""
_THERE = "SELECT count(*) FROM chat_pairs WHERE trace_id = ANY(%s)"


class Vectors(Protocol):
    """As domain.embeddings.ports.Embedded has them: in the order of the texts, and what made them;
    a name is of model and projection together."""

    @property
    def vectors(self) -> Sequence[Vector]: ...

    @property
    def model(self) -> str: ...


Embed = Callable[[list[str]], Awaitable[Vectors]]


@dataclass(frozen=True, slots=True)
class PairsEmbedded:
    """`embedded` pairs got a vector, `empty` ones have nothing to embed, `already` ones somebody
    else was faster with; `waiting`, MOST_COUNTED at most, are left.

    `sequences`: where PIPELINE has the events of those that are done, one range an event, in order;
    `occurred`: the least and the greatest time of these, None for none.  `model`: "" for none."""

    embedded: int = 0
    empty: int = 0
    already: int = 0
    waiting: int = 0
    sequences: list[tuple[int, int]] = field(default_factory=list)
    occurred: tuple[str, str] | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class _Pair:
    trace_id: str
    sequence: int
    created_at: datetime
    prompt: str
    response: str


@dataclass(frozen=True, slots=True)
class _Made:
    """A vector and the name of what made it; without a vector there was nothing to embed."""

    vector: str | None = None
    model: str = _NO_TEXT


async def embed_pairs(
    pool: PostgresPool,
    embed: Embed,
    *,
    most: int,
    batch: int,
    settled: Callable[[PairsEmbedded], Awaitable[None]] | None = None,
) -> PairsEmbedded:
    """Embed up to `most` pairs that wait, `batch` at a time; `settled` is awaited after each commit
    with what that batch was.

    Two at once do a batch twice at most: who was faster with none of one leaves the rest to the
    other.  What `embed` refuses for itself alone gets no vector.  Raises PartUnavailable, also what
    `embed` raises of it; what is done until then stays done.
    """
    total = PairsEmbedded()
    tried = 0
    while tried < most:
        pairs = await _next(pool, min(batch, most - tried))
        tried += len(pairs)
        if not pairs:
            break
        done = await _put(pool, pairs, await _made(embed, pairs))
        total = _sum(total, done)
        if settled is not None:
            await settled(done)
        if done.already and not done.embedded and not done.empty:
            break
    return replace(total, waiting=await waiting(pool))


async def waiting(pool: PostgresPool) -> int:
    """How many pairs wait for their vector; counted up to MOST_COUNTED.  Raises PartUnavailable."""
    async with pool.transaction() as connection:
        row = await (await connection.execute(_COUNT, (MOST_COUNTED,))).fetchone()
        return int(row[0]) if row else 0


def text_of_pair(prompt: str, response: str) -> str:
    """What is embedded of a pair: prompt, line break, response, cut to what the model reads; ""
    when neither has anything."""
    prompt, response = prompt.strip(), response.strip()
    half = _MOST_CHARS // 2
    prompt = prompt[: max(half, _MOST_CHARS - len(response))]
    return f"{prompt}\n{response[: _MOST_CHARS - len(prompt)]}".strip()


async def _next(pool: PostgresPool, limit: int) -> list[_Pair]:
    async with pool.transaction() as connection:
        found = await connection.execute(SELECT_WAITING.encode(), (limit,))
        return [_Pair(*row) for row in await found.fetchall()]


async def _made(embed: Embed, pairs: Sequence[_Pair]) -> list[_Made]:
    """In the order of `pairs`."""
    texts = [text_of_pair(pair.prompt, pair.response) for pair in pairs]
    made = iter(await _embedded(embed, [text for text in texts if text]))
    return [next(made) if text else _Made() for text in texts]


async def _embedded(embed: Embed, texts: list[str]) -> list[_Made]:
    """One text that cannot be embedded must not hold up the others: it is found by halving."""
    if not texts:
        return []
    try:
        answer = await embed(texts)
    except (ContextLengthExceeded, InvalidRequest):
        if len(texts) == 1:
            return [_Made()]
        middle = len(texts) // 2
        return [*await _embedded(embed, texts[:middle]), *await _embedded(embed, texts[middle:])]
    vectors = map(vector_text, answer.vectors)
    return [_Made(vector, answer.model) for _, vector in zip(texts, vectors, strict=True)]


async def _put(pool: PostgresPool, pairs: Sequence[_Pair], made: Sequence[_Made]) -> PairsEmbedded:
    ids = [pair.trace_id for pair in pairs]
    values = {
        "ids": ids,
        "vectors": [each.vector for each in made],
        "models": [each.model for each in made],
    }
    async with pool.transaction() as connection:
        put = {row[0] for row in await (await connection.execute(_PUT, values)).fetchall()}
        there = await (await connection.execute(_THERE, (ids,))).fetchone()
    ours = [(pair, each) for pair, each in zip(pairs, made, strict=True) if pair.trace_id in put]
    return PairsEmbedded(
        embedded=sum(each.vector is not None for _, each in ours),
        empty=sum(each.vector is None for _, each in ours),
        already=(int(there[0]) if there else 0) - len(ours),
        sequences=[(pair.sequence, pair.sequence) for pair, _ in ours],
        occurred=_span([pair.created_at for pair, _ in ours]),
        model=next((each.model for _, each in ours if each.model), ""),
    )


def _span(times: Sequence[datetime]) -> tuple[str, str] | None:
    return (min(times).isoformat(), max(times).isoformat()) if times else None


def _sum(one: PairsEmbedded, other: PairsEmbedded) -> PairsEmbedded:
    spans = [span for span in (one.occurred, other.occurred) if span]
    times = [datetime.fromisoformat(time) for span in spans for time in span]
    return PairsEmbedded(
        embedded=one.embedded + other.embedded,
        empty=one.empty + other.empty,
        already=one.already + other.already,
        sequences=[*one.sequences, *other.sequences],
        occurred=_span(times),
        model=other.model or one.model,
    )
