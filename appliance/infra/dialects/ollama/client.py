"""The client of Ollama's native wire: /api/chat and /api/generate, embeddings, model list.  Step 6
of the path.

Native and not its OpenAI-compatible routes, which know neither `num_ctx` nor `think`.
`request.py` writes what it sends, `answer.py` reads what comes back, `../upstream.py` speaks HTTP.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from appliance.config.schema import BackendConfig
from appliance.domain.chat.ports import ModelCard
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.errors import BackendError, BackendRefused, ContextLengthExceeded
from appliance.domain.identity import Identity
from appliance.infra.dialects.bodies import UNREADABLE, decode, object_in
from appliance.infra.dialects.ollama import request as wire
from appliance.infra.dialects.ollama.answer import AnswerReader, answer_of
from appliance.infra.dialects.ollama.window import ModelFacts, Windows, facts_of
from appliance.infra.dialects.upstream import TAIL_TIMEOUT_S, Upstream, bearer
from appliance.infra.http.client import HttpClient, Response
from appliance.infra.http.ndjson import NdjsonDecoder
from appliance.infra.http.target import Target

SHOW_TIMEOUT_S = 5.0
KEPT_FACTS = 256
_PATHS = ("/api/chat", "/api/generate", "/api/embed", "/api/tags", "/api/show", "/api/ps")
_EMBEDS = ("dimensions", "truncate", "keep_alive", "options")
_LINES = ("application/x-ndjson", "application/json", "application/jsonl")
_THINKING = re.compile(r"not support thinking|think value")


class OllamaClient:
    """One backend of this dialect.  Stores its configuration; the first request connects."""

    dialect = wire.DIALECT
    carries = wire.CARRIES

    def __init__(self, config: BackendConfig, http: HttpClient) -> None:
        self.config = config
        self.name = config.name
        self._upstream = Upstream(config, http, bearer(config.api_key), unwrapped=_unwrapped)
        # People paste the address of the OpenAI-compatible routes.
        root = Target.parse(config.base_url.rstrip("/").removesuffix("/v1"))
        self._targets = {path: root.at(path) for path in _PATHS}
        self._windows = Windows(config.num_ctx)
        self._facts: dict[str, ModelFacts] = {}

    def speaks(self, dialect: str) -> bool:
        """See ChatBackend.speaks."""
        return dialect in wire.SPOKEN

    async def complete(self, request: ChatRequest, model: str, identity: Identity) -> Answer:
        """See ChatBackend.complete."""
        response = await self._ask(request, model, identity, stream=False)
        raw = await self._upstream.read(response)
        body = object_in(raw, self.name)
        if not isinstance(body.get("message"), dict) and not isinstance(body.get("response"), str):
            raise self._upstream.broken("answered without a message")
        answer = answer_of(body, own=self.speaks(request.dialect))
        return replace(answer, raw=raw) if request.raw else answer

    async def stream(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> AsyncGenerator[Delta, None]:
        """See ChatBackend.stream.  Ends after the line that is `done`."""
        response = await self._ask(request, model, identity, stream=True)
        async with aclosing(response):
            self._upstream.require_stream(response, *_LINES)
            lines = NdjsonDecoder()
            reader = AnswerReader(own=self.speaks(request.dialect))
            with self._upstream.errors:
                async for chunk in response.chunks(self.config.read_timeout_s):
                    for line in lines.feed(chunk):
                        for delta in self._deltas(reader, line, raw=request.raw):
                            yield delta
                        if reader.done:
                            await response.drain(TAIL_TIMEOUT_S)
                            return
            # The end of the last line may be missing where a proxy stands between.
            if rest := lines.flush():
                for delta in self._deltas(reader, rest, raw=request.raw):
                    yield delta
            if not reader.done:
                raise self._upstream.unfinished()

    async def models(self) -> list[ModelCard]:
        """See ChatBackend.models.  Embedding models come last: the first is the default."""
        rows = (await self._upstream.get(self._targets["/api/tags"])).get("models")
        rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        named = [row for row in rows if isinstance(row.get("name"), str) and row["name"]]
        return [_card(row) for row in sorted(named, key=_only_embeds)]

    async def show(self, model: str) -> Mapping[str, Any]:
        """See ModelKeeper.show."""
        response = await self._upstream.post(
            self._targets["/api/show"], {"model": model}, None, timeout_s=SHOW_TIMEOUT_S
        )
        return await self._upstream.object(response)

    async def running(self) -> Sequence[Mapping[str, Any]]:
        """See ModelKeeper.running."""
        rows = (await self._upstream.get(self._targets["/api/ps"])).get("models")
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    async def count_tokens(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> int | None:
        """None: Ollama has no route for its tokenizer."""
        return None

    async def embed(
        self,
        inputs: Sequence[Any],
        model: str,
        fields: Mapping[str, Any],
        identity: Identity | None = None,
    ) -> dict[str, Any]:
        """See EmbeddingBackend.embed: `POST /api/embed`, answered in OpenAI's shape."""
        # Unless told otherwise it embeds the beginning of a text that is too long, silently.
        asked = {"model": model, "input": list(inputs), "truncate": False}
        asked |= {name: fields[name] for name in _EMBEDS if name in fields}
        body = await self._upstream.ask(self._targets["/api/embed"], asked, identity)
        vectors = body.get("embeddings")
        if not isinstance(vectors, list):
            raise self._upstream.broken("answered without embeddings")
        rows = enumerate(vectors)
        told: dict[str, Any] = {
            "object": "list",
            "model": model,
            "data": [{"object": "embedding", "index": n, "embedding": v} for n, v in rows],
        }
        if isinstance(tokens := body.get("prompt_eval_count"), int):
            told["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return told

    async def _ask(
        self, request: ChatRequest, model: str, identity: Identity, *, stream: bool
    ) -> Response:
        """Send the request.  What Ollama refuses before it has begun and we know better how to
        ask is asked again: a window that was estimated too small, `think` of a model that does
        not."""
        facts = await self._facts_of(model, identity)
        window = self._windows.choose(request, model, facts)
        generates = request.operation == "text_completion" or request.dialect == wire.GENERATE
        target = self._targets["/api/generate" if generates else "/api/chat"]
        asked = wire.body(request, model, window, family=facts.family) | {"stream": stream}
        while True:
            try:
                return await self._upstream.post(target, asked, identity)
            except ContextLengthExceeded:
                window = self._windows.grown(model, window, facts)
                if self.speaks(request.dialect) or not window:
                    raise
                asked["options"]["num_ctx"] = window
            except BackendRefused as exc:
                if self.speaks(request.dialect) or not _is_about_thinking(exc, asked):
                    raise
                del asked["think"]

    async def _facts_of(self, model: str, identity: Identity) -> ModelFacts:
        """What the server tells of the model; asked once, nothing where it cannot be asked."""
        if (facts := self._facts.get(model)) is not None:
            return facts
        try:
            response = await self._upstream.post(
                self._targets["/api/show"], {"model": model}, identity, timeout_s=SHOW_TIMEOUT_S
            )
            facts = facts_of(await self._upstream.object(response))
        except BackendError:
            return ModelFacts()  # the request itself will say what is wrong
        if len(self._facts) >= KEPT_FACTS:
            self._facts.clear()
        self._facts[model] = facts
        return facts

    def _deltas(self, reader: AnswerReader, line: bytes, *, raw: bool) -> Sequence[Delta]:
        deltas = reader.read(object_in(line, self.name))
        if raw:
            deltas[0].raw = line
        return deltas


def _card(row: Mapping[str, Any]) -> ModelCard:
    """`x:latest` is known as `x`; asking for it by its full name works too (see Router.plan)."""
    name = row["name"]
    return ModelCard(name.removesuffix(":latest"), name, None, "ollama", details=row)


def _only_embeds(row: Mapping[str, Any]) -> bool:
    can, details = row.get("capabilities"), row.get("details")
    if isinstance(can, list) and can:
        return "completion" not in can
    family = details.get("family") if isinstance(details, dict) else None
    return isinstance(family, str) and family.endswith("bert")  # bert, nomic-bert


def _is_about_thinking(error: BackendRefused, asked: Mapping[str, Any]) -> bool:
    """`"x" does not support thinking`, or `think value "high" is not supported for this model`."""
    return error.status == 400 and "think" in asked and bool(_THINKING.search(str(error)))


def _unwrapped(raw: bytes) -> bytes:
    """An error body as its runner wrote it, where Ollama hands that on as a text of JSON."""
    try:
        told = decode(raw)
        inner = told.get("error") if isinstance(told, dict) else None
        if isinstance(inner, str) and isinstance(decode(inner), dict):
            return inner.encode()
    except UNREADABLE:
        pass
    return raw
