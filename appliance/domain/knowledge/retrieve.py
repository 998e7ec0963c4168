"""Find the chunks that belong into a prompt.  Step "augment" of a chat request; never fails it.

A part that is down, or slower than `retrieve_timeout_s` in all, is named in `Retrieval.degraded`.
"""

import asyncio
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from appliance.domain.embeddings.ports import Embedded, Embedder
from appliance.domain.errors import ApplianceError, PartUnavailable
from appliance.domain.events.exchange import Cut, Embedding, Hit, Retrieval
from appliance.domain.identity import Identity
from appliance.domain.knowledge.prompt import PREAMBLE, READ, frame
from appliance.domain.knowledge.workspace import is_workspace
from appliance.domain.vectorstore.ports import FoundChunk, VectorStore

# English is 3.5 to 4.5 bytes a token, code and numbers are fewer: 3 errs to the safe side.
BYTES_PER_TOKEN = 3.0
_MESSAGE_TOKENS = 16  # what a template puts around one message
_ANSWER_TOKENS = 512  # kept free for an answer whose limit nobody named, or a quarter of the window
_QUERY_HEAD_CHARS = 600  # the embedding model reads some 1000 characters; a question that comes
_QUERY_TAIL_CHARS = 400  # with a file is asked before it or after it

_Reason = Literal["score", "room", "repeated", "limit"]  # see Cut


class RetrieveSettings(Protocol):
    """`[knowledge]`, as far as retrieval needs it."""

    @property
    def hits(self) -> int: ...
    @property
    def min_score(self) -> float: ...
    @property
    def context_share(self) -> float: ...
    @property
    def default_context_window(self) -> int: ...
    @property
    def retrieve_timeout_s(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The record of the retrieval, and the chunks to inject: the same hits, in the same order."""

    retrieval: Retrieval
    chunks: tuple[FoundChunk, ...] = ()


@dataclass(slots=True)
class _Search:
    """What came of a search, as far as it got: `degraded` names the part that failed it."""

    found: list[FoundChunk] = field(default_factory=list)
    embedding: Embedding | None = None
    degraded: str = ""


class Retriever:
    """Embeds the query, searches the workspace, and picks what fits."""

    def __init__(self, embedder: Embedder, store: VectorStore, settings: RetrieveSettings) -> None:
        self._embedder = embedder
        self._store = store
        self._settings = settings

    async def retrieve(
        self,
        query: str,
        *,
        workspace: str,
        context_window: int = 0,
        prompt_bytes: int = 0,
        max_output_tokens: int | None = None,
        identity: Identity | None = None,
        began_s: float = 0.0,
    ) -> Retrieved:
        """The best chunks that fit beside a prompt of `prompt_bytes` and an answer, best first.

        `context_window` in tokens, 0 when nobody knows it; `began_s` says when, counted from the
        arrival of the request.  Never raises for a part that is down.
        """
        started = time.monotonic()
        window = context_window or self._settings.default_context_window
        room = self._room_tokens(window, prompt_bytes, max_output_tokens)
        text, search = _shorten(query.strip()), _Search()
        if text and room > 0 and is_workspace(workspace):
            search = await self._search(text, workspace, identity, began_s)
        hits, chunks, cut = _sorted_out(search.found, room, self._settings)
        retrieval = Retrieval(
            workspace=workspace,
            hits=hits,
            degraded=search.degraded,
            duration_s=time.monotonic() - started,
            began_s=began_s,
            query=text,
            cut=cut,
            min_score=self._settings.min_score,
            limit=self._settings.hits,
            room_tokens=max(0, room),
            context_window=window,
            embedding=search.embedding,
        )
        return Retrieved(retrieval, chunks)

    async def _search(
        self, text: str, workspace: str, identity: Identity | None, began_s: float
    ) -> _Search:
        search, part, started = _Search(), "inference", time.monotonic()
        try:
            async with asyncio.timeout(self._settings.retrieve_timeout_s):
                embedded = await self._embedder.embed([text], identity=identity)
                search.embedding = _as_recorded(embedded, text, began_s, time.monotonic() - started)
                part = "postgres"
                # Twice the hits: some are too long for the room, some repeat another.
                search.found = await self._store.search(
                    embedded.vectors[0],
                    workspace=workspace,
                    model=embedded.model,
                    limit=2 * self._settings.hits,
                )
        except PartUnavailable as exc:
            search.degraded = exc.part
        except (TimeoutError, ApplianceError):
            search.degraded = part
        return search

    def _room_tokens(self, window: int, prompt_bytes: int, answer_tokens: int | None) -> int:
        """Tokens left for chunks, of the window's share that knowledge may take."""
        answer = answer_tokens or min(_ANSWER_TOKENS, window // 4)
        fixed = estimate_tokens(PREAMBLE) + estimate_tokens(READ) + 3 * _MESSAGE_TOKENS
        left = window - math.ceil(prompt_bytes / BYTES_PER_TOKEN) - answer - fixed
        return min(left, int(window * self._settings.context_share) - fixed)


def estimate_tokens(text: str) -> int:
    """An upper estimate for any tokenizer; counts bytes, so that scripts beyond Latin cost more."""
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN)


def _as_recorded(embedded: Embedded, text: str, began_s: float, duration_s: float) -> Embedding:
    return Embedding(
        purpose="query",
        model=embedded.model,
        texts=(text,),
        dimensions=len(embedded.vectors[0]),
        input_tokens=embedded.input_tokens,
        began_s=began_s,
        duration_s=duration_s,
    )


def _sorted_out(
    found: Iterable[FoundChunk], room: int, settings: RetrieveSettings
) -> tuple[tuple[Hit, ...], tuple[FoundChunk, ...], tuple[Cut, ...]]:
    """The best `hits` that score enough and fit, their chunks, and what is left out and why; one
    too long for what is left of the room makes way for a shorter one."""
    hits, chunks, cut, taken = list[Hit](), list[FoundChunk](), list[Cut](), set[str]()
    for chunk in found:
        tokens = estimate_tokens(frame(chunk)) + 1
        reason: _Reason | None = None
        if chunk.score < settings.min_score:
            reason = "score"
        elif chunk.content in taken:
            reason = "repeated"
        elif len(taken) == settings.hits:
            reason = "limit"
        elif tokens > room:
            reason = "room"
        if reason is not None:
            cut.append(Cut(chunk.document, chunk.index, chunk.score, tokens, reason))
            continue
        taken.add(chunk.content)
        room -= tokens
        hits.append(Hit(chunk.document, chunk.index, chunk.score, tokens))
        chunks.append(chunk)
    return tuple(hits), tuple(chunks), tuple(cut)


def _shorten(query: str) -> str:
    if len(query) <= _QUERY_HEAD_CHARS + _QUERY_TAIL_CHARS:
        return query
    return f"{query[:_QUERY_HEAD_CHARS]}\n…\n{query[-_QUERY_TAIL_CHARS:]}"
