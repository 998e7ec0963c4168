"""The client of OpenAI's wire: chat completions, embeddings, model list.  Step 6 of the path.

The kinds in infra/backends/ subclass it with only what differs.  Translates every failure into the
BackendError tree at this edge.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import PurePosixPath
from typing import Any

import msgspec

from appliance.config.schema import BackendConfig
from appliance.domain.chat.ports import ModelCard
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.conversation.usage import Usage
from appliance.domain.errors import BackendProtocolError
from appliance.domain.identity import Identity
from appliance.infra.dialects.failures import BackendErrors, in_band_error, refused
from appliance.infra.http.client import HttpClient, Response
from appliance.infra.http.errors import HttpError
from appliance.infra.http.sse import SseDecoder
from appliance.infra.http.target import Target

MAX_ANSWER_BYTES = 64 * 1024 * 1024
# How long a backend may think before its headers: the service bounds the exchange, this is only a
# stop.
HEADERS_TIMEOUT_S = 3600.0
TAIL_TIMEOUT_S = 0.25
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class OpenAIChatClient:
    """One backend of this dialect.  Stores its configuration; the first request connects."""

    dialect = "openai_chat"

    def __init__(self, config: BackendConfig, http: HttpClient) -> None:
        self.config = config
        self._http = http
        self._errors = BackendErrors(config.name)
        self._chat = self._target("/chat/completions")
        self._models = self._target("/models")
        self._headers = [("Content-Type", "application/json")]
        if config.api_key:
            self._headers.append(("Authorization", f"Bearer {config.api_key}"))

    @property
    def name(self) -> str:
        """The backend's configured name."""
        return self.config.name

    async def complete(self, request: ChatRequest, model: str, identity: Identity) -> Answer:
        """See ChatBackend.complete."""
        response = await self._post(self._chat, self._body(request, model, stream=False), identity)
        async with aclosing(response):
            with self._errors:
                raw = await response.read(MAX_ANSWER_BYTES, self.config.read_timeout_s)
        return self._answer(self._object(raw))

    async def stream(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> AsyncGenerator[Delta, None]:
        """See ChatBackend.stream.  Ends at [DONE], or where the backend ends after a finish
        reason."""
        response = await self._post(self._chat, self._body(request, model, stream=True), identity)
        async with aclosing(response):
            if not (response.header("content-type") or "").startswith("text/event-stream"):
                raise BackendProtocolError(
                    f"backend {self.name} answered a stream request with "
                    f"{response.header('content-type') or 'no content type'}",
                    backend=self.name,
                )
            decoder = SseDecoder()
            answered = finished = False
            with self._errors:
                async for chunk in response.chunks(self.config.read_timeout_s):
                    for data in decoder.feed(chunk):
                        if data == b"[DONE]" and answered:
                            await _read_tail(response)
                            return
                        delta = self._delta(data)
                        answered = True
                        finished = finished or delta.finish_reason is not None
                        yield delta
            if not finished:
                raise BackendProtocolError(
                    f"backend {self.name} ended its stream before the answer was whole",
                    backend=self.name,
                )

    async def models(self) -> list[ModelCard]:
        """See ChatBackend.models."""
        with self._errors:
            response = await self._http.send(
                "GET",
                self._models,
                self._headers[1:],
                timeout_s=self.config.read_timeout_s,
                connect_timeout_s=self.config.connect_timeout_s,
            )
            async with aclosing(response):
                raw = await response.read(MAX_ANSWER_BYTES, self.config.read_timeout_s)
        if response.status != 200:
            raise refused(self.name, response, raw)
        listed = self._object(raw).get("data")
        rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
        return [self.card(row) for row in rows if isinstance(row.get("id"), str)]

    async def embed(
        self,
        inputs: Sequence[Any],
        model: str,
        fields: Mapping[str, Any],
        identity: Identity | None = None,
    ) -> dict[str, Any]:
        """`POST /embeddings` as it is: the backend's body.  Used for models that are not ours."""
        body = _encode({**fields, "model": model, "input": inputs, "encoding_format": "float"})
        response = await self._post(self._target("/embeddings"), body, identity)
        async with aclosing(response):
            with self._errors:
                raw = await response.read(MAX_ANSWER_BYTES, self.config.read_timeout_s)
        return self._object(raw)

    def card(self, row: Mapping[str, Any]) -> ModelCard:
        """One row of the model list; a kind overrides it where its rows say more."""
        owner = str(row.get("owned_by") or self.name)
        return ModelCard(public_name(row["id"]), row["id"], None, owner)

    def parameters(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The request's parameters as this server wants them; a kind overrides it."""
        return params

    def _target(self, path: str) -> Target:
        return Target.parse(self.config.base_url.rstrip("/") + path)

    def _body(self, request: ChatRequest, model: str, *, stream: bool) -> bytes:
        body: dict[str, Any] = {"model": model, "messages": [m.source for m in request.messages]}
        body.update(self.parameters(request.params))
        if stream:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        return _encode(body)

    async def _post(self, target: Target, body: bytes, identity: Identity | None) -> Response:
        headers = self._headers
        if identity is not None:
            headers = [
                *headers,
                ("X-Correlation-ID", identity.correlation_id),
                ("X-Request-ID", identity.trace_id),
            ]
        with self._errors:
            response = await self._http.send(
                "POST",
                target,
                headers,
                body,
                timeout_s=HEADERS_TIMEOUT_S,
                connect_timeout_s=self.config.connect_timeout_s,
            )
            if response.status != 200:
                async with aclosing(response):
                    raw = await response.read(1024 * 1024, self.config.read_timeout_s)
        if response.status != 200:
            raise refused(self.name, response, raw)
        return response

    def _object(self, raw: bytes) -> dict[str, Any]:
        try:
            body = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise BackendProtocolError(
                f"backend {self.name} answered with something that is not JSON: {exc}",
                backend=self.name,
            ) from exc
        if not isinstance(body, dict):
            raise BackendProtocolError(
                f"backend {self.name} answered with JSON that is not an object", backend=self.name
            )
        if body.get("error"):
            raise in_band_error(self.name, body["error"])
        return body

    def _answer(self, body: dict[str, Any]) -> Answer:
        choices = body.get("choices")
        if not isinstance(choices, list) or not choices or not all(map(_is_choice, choices)):
            raise BackendProtocolError(
                f"backend {self.name} answered without a choice", backend=self.name
            )
        first = choices[0]
        message = first["message"]
        content = message.get("content")
        return Answer(
            text=content if isinstance(content, str) else "",
            finish_reason=first.get("finish_reason"),
            usage=_usage(body.get("usage")),
            model=str(body.get("model") or ""),
            tool_calls=tuple(c for c in message.get("tool_calls") or () if isinstance(c, dict)),
            source=body,
        )

    def _delta(self, data: bytes) -> Delta:
        chunk = self._object(data)
        choices = chunk.get("choices")
        usage = chunk.get("usage")
        counted = _usage(usage) if usage else None
        if not isinstance(choices, list) or not choices:
            return Delta(usage=counted)
        choice = choices[0] if len(choices) == 1 else _recorded(choices)
        if not isinstance(choice, dict):
            raise BackendProtocolError(
                f"backend {self.name} sent a choice that is not an object", backend=self.name
            )
        step = choice.get("delta")
        model = chunk.get("model")
        if not isinstance(step, dict):
            step = {}
        text = step.get("content")
        reasoning = step.get("reasoning_content") or step.get("reasoning")
        calls = step.get("tool_calls")
        # By position: the names would cost every chunk a tenth of its parsing.
        return Delta(
            choice.get("index") or 0,
            text if isinstance(text, str) else "",
            reasoning if isinstance(reasoning, str) else "",
            [c for c in calls if isinstance(c, dict)] if isinstance(calls, list) else (),
            choice.get("finish_reason"),
            counted,
            model if isinstance(model, str) else "",
            chunk,
        )


def _is_choice(choice: Any) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get("message"), dict)


def _recorded(choices: list[Any]) -> Any:
    """Of several choices in one chunk the first of all, whose text is the record's; None when one
    is no choice."""
    if not all(isinstance(choice, dict) for choice in choices):
        return None
    return next((choice for choice in choices if not choice.get("index")), choices[0])


def public_name(model: str) -> str:
    """A path's stem without `.gguf` (`/models/Qwen3-8B-Q4.gguf` is `Qwen3-8B-Q4`); any other name
    as it is."""
    if model.endswith(".gguf") or model.startswith(("/", "./", "~")) or "\\" in model:
        return PurePosixPath(model.replace("\\", "/")).name.removesuffix(".gguf")
    return model


async def _read_tail(response: Response) -> None:
    """Past [DONE] only the end of the body is due: read it, and the connection can be used
    again."""
    with suppress(HttpError, TimeoutError):
        async with asyncio.timeout(TAIL_TIMEOUT_S):
            async for _ in response.chunks(TAIL_TIMEOUT_S):
                pass


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    given, made = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return Usage(
        given if isinstance(given, int) else None, made if isinstance(made, int) else None, usage
    )
