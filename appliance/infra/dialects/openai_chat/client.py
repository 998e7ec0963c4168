"""The client of OpenAI's wire: chat and text completions, embeddings, model list.  Step 6 of the
path.

`request.py` writes what it sends, `answer.py` reads what comes back, `../upstream.py` speaks HTTP.
The kinds in infra/backends/ subclass it with only what differs.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from appliance.config.schema import BackendConfig
from appliance.domain.chat.ports import ModelCard
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.identity import Identity
from appliance.infra.dialects.model_names import public_name
from appliance.infra.dialects.openai_chat.answer import AnswerReader
from appliance.infra.dialects.openai_chat.request import OWN_DIALECT, Asked, asked
from appliance.infra.dialects.openai_chat.traits import Traits
from appliance.infra.dialects.upstream import TAIL_TIMEOUT_S, Upstream, bearer
from appliance.infra.http.client import HttpClient, Response
from appliance.infra.http.sse import SseDecoder
from appliance.infra.http.target import Target

_PATHS = {"chat": "/chat/completions", "text_completion": "/completions"}
_SPOKEN = frozenset(OWN_DIALECT.values())


class OpenAIChatClient:
    """One backend of this dialect.  Stores its configuration; the first request connects."""

    dialect = "openai_chat"
    traits = Traits()

    def __init__(self, config: BackendConfig, http: HttpClient) -> None:
        self.config = config
        self.name = config.name
        self._upstream = Upstream(config, http, bearer(config.api_key))
        self._base = Target.parse(config.base_url)
        self._targets = {name: self._base.at(path) for name, path in _PATHS.items()}

    @property
    def carries(self) -> frozenset[str]:
        """See ChatBackend.carries."""
        return self.traits.carries

    def speaks(self, dialect: str) -> bool:
        """See ChatBackend.speaks."""
        return dialect in _SPOKEN

    async def complete(self, request: ChatRequest, model: str, identity: Identity) -> Answer:
        """See ChatBackend.complete."""
        sent = self._asked(request, model, stream=False)
        response = await self._post(sent, request, identity)
        return self._reader(sent, request).answer(await self._upstream.read(response))

    async def stream(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> AsyncGenerator[Delta, None]:
        """See ChatBackend.stream.  Ends at [DONE], or where the backend ends after a finish
        reason."""
        sent = self._asked(request, model, stream=True)
        reader = self._reader(sent, request)
        response = await self._post(sent, request, identity)
        async with aclosing(response):
            self._upstream.require_stream(response, "text/event-stream")
            decoder = SseDecoder()
            answered = finished = False
            with self._upstream.errors:
                async for chunk in response.chunks(self.config.read_timeout_s):
                    for data in decoder.feed(chunk):
                        if data == b"[DONE]" and answered:
                            await response.drain(TAIL_TIMEOUT_S)
                            return
                        for delta in reader.deltas(data):
                            answered = True
                            finished = finished or delta.finish_reason is not None
                            yield delta
            if not finished:
                raise self._upstream.unfinished()

    async def models(self) -> list[ModelCard]:
        """See ChatBackend.models."""
        listed = (await self._upstream.get(self._base.at("/models"))).get("data")
        rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
        return [self.card(row) for row in rows if isinstance(row.get("id"), str)]

    async def count_tokens(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> int | None:
        """See ChatBackend.count_tokens; a kind that has a tokenizer to ask overrides it."""
        return None

    async def embed(
        self,
        inputs: Sequence[Any],
        model: str,
        fields: Mapping[str, Any],
        identity: Identity | None = None,
    ) -> dict[str, Any]:
        """`POST /embeddings` as it is: the backend's body.  Used for models that are not ours."""
        body = {**fields, "model": model, "input": inputs, "encoding_format": "float"}
        return await self._upstream.ask(self._base.at("/embeddings"), body, identity)

    def card(self, row: Mapping[str, Any]) -> ModelCard:
        """One row of the model list; a kind overrides it where its rows say more."""
        owner = str(row.get("owned_by") or self.name)
        return ModelCard(public_name(row["id"]), row["id"], None, owner)

    def _asked(self, request: ChatRequest, model: str, *, stream: bool) -> Asked:
        return asked(request, model, backend=self.name, traits=self.traits, stream=stream)

    def _reader(self, sent: Asked, request: ChatRequest) -> AnswerReader:
        return AnswerReader(
            self.name,
            own=sent.own,
            raw=request.raw,
            logprobs=bool(request.options.logprobs),
            names=sent.names,
        )

    def _root(self, path: str) -> Target:
        """`path` beside the API and not below it: where servers have what OpenAI does not."""
        return Target.parse(self.config.base_url.rstrip("/").removesuffix("/v1") + path)

    async def _post(self, sent: Asked, request: ChatRequest, identity: Identity) -> Response:
        return await self._upstream.post(self._targets[request.operation], sent.body, identity)
