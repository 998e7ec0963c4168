"""Find the chunks that belong into a prompt.  Step "augment" of a chat request; never fails it.

A part that is down, or slower than `retrieve_timeout_s` in all, is named in `Retrieval.degraded`.
"""

import asyncio
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from appliance.domain.embeddings.ports import Embedder
from appliance.domain.errors import ApplianceError, PartUnavailable
from appliance.domain.events.exchange import Hit, Retrieval
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
    ) -> Retrieved:
        """The best chunks that fit beside a prompt of `prompt_bytes` and an answer, best first.

        `context_window` in tokens, 0 when nobody knows it.  Never raises for a part that is down.
        """
        started = time.monotonic()
        room = self._room_tokens(context_window, prompt_bytes, max_output_tokens)
        text = _shorten(query.strip())
        found, degraded = list[FoundChunk](), ""
        if text and room > 0 and is_workspace(workspace):
            found, degraded = await self._search(text, workspace, identity)
        chunks = tuple(_fitting(found, room, self._settings))
        hits = tuple(Hit(chunk.document, chunk.index, chunk.score) for chunk in chunks)
        return Retrieved(Retrieval(workspace, hits, degraded, time.monotonic() - started), chunks)

    async def _search(
        self, text: str, workspace: str, identity: Identity | None
    ) -> tuple[list[FoundChunk], str]:
        """What the search found, and the part that failed it."""
        part = "inference"
        try:
            async with asyncio.timeout(self._settings.retrieve_timeout_s):
                embedded = await self._embedder.embed([text], identity=identity)
                part = "postgres"
                # Twice the hits: some are too long for the room, some repeat another.
                return await self._store.search(
                    embedded.vectors[0],
                    workspace=workspace,
                    model=embedded.model,
                    limit=2 * self._settings.hits,
                ), ""
        except PartUnavailable as exc:
            return [], exc.part
        except (TimeoutError, ApplianceError):
            return [], part

    def _room_tokens(self, window: int, prompt_bytes: int, answer_tokens: int | None) -> int:
        """Tokens left for chunks, of the window's share that knowledge may take."""
        window = window or self._settings.default_context_window
        answer = answer_tokens or min(_ANSWER_TOKENS, window // 4)
        fixed = estimate_tokens(PREAMBLE) + estimate_tokens(READ) + 3 * _MESSAGE_TOKENS
        left = window - math.ceil(prompt_bytes / BYTES_PER_TOKEN) - answer - fixed
        return min(left, int(window * self._settings.context_share) - fixed)


def estimate_tokens(text: str) -> int:
    """An upper estimate for any tokenizer; counts bytes, so that scripts beyond Latin cost more."""
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN)


def _fitting(
    found: Iterable[FoundChunk], room: int, settings: RetrieveSettings
) -> Iterable[FoundChunk]:
    """The best `hits` that score enough and fit; one too long for what is left is left out."""
    taken = set[str]()
    for chunk in found:
        cost = estimate_tokens(frame(chunk)) + 1
        if chunk.score >= settings.min_score and cost <= room and chunk.content not in taken:
            taken.add(chunk.content)
            room -= cost
            yield chunk
        if len(taken) == settings.hits:
            return


def _shorten(query: str) -> str:
    if len(query) <= _QUERY_HEAD_CHARS + _QUERY_TAIL_CHARS:
        return query
    return f"{query[:_QUERY_HEAD_CHARS]}\n…\n{query[-_QUERY_TAIL_CHARS:]}"
