"""`POST /rerank` and `POST /maxsim` of the inference role: two methods, one wire.

{"query", "texts", "raw_scores"?, "return_text"?, "truncate"?, "truncation_direction"?}
[{"index", "score", "text"?}], best first; `x-model` says what scored
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

import falcon.asgi
import msgspec

from appliance.domain.errors import (
    ApplianceError,
    InvalidRequest,
    PartUnavailable,
    RequestTooLarge,
)
from appliance.domain.rerank.ports import Kind
from appliance.transport.body import read_body
from appliance.transport.context import context_of
from appliance.transport.inference.answers import JSON, failure, parse, put_failure
from appliance.transport.inference.services import Ranker, Ranking, RoleServices

ROUTES: Mapping[Kind, str] = {"maxsim": "/maxsim", "fusion": "/rerank"}  # the best first
_NONE = (
    "there is no ColBERT model here: put one into a folder and name it in [inference] colbert_dir"
)


class RerankRequest(msgspec.Struct):
    """Unknown fields are ignored, as that server does."""

    query: str
    texts: list[str]
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool | None = None
    truncation_direction: Literal["left", "right", "Left", "Right"] = "Right"


_decode = msgspec.json.Decoder(RerankRequest).decode


class RerankResource:
    """The reranker of one kind."""

    def __init__(self, kind: Kind, services: RoleServices) -> None:
        self._kind: Kind = kind
        self._services = services

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """`x-input-tokens` is what the models read; 424 where there is no such reranker."""
        started, status, tokens = self._services.monotonic(), 499, 0
        try:
            ranker = self._ranker()
            body = parse(_decode, await read_body(req, self._services.info.max_body_bytes))
            ranking = await self._rank(ranker, body)
            status, tokens = 200, ranking.input_tokens
            resp.set_header("x-input-tokens", str(tokens))
            resp.set_header("x-model", ranker.model)
            context_of(req.scope).fields.update(
                request_model=ranker.model, texts=len(body.texts), input_tokens=tokens
            )
            resp.content_type = JSON
            resp.data = msgspec.json.encode(_ordered(body, ranking))
        except ApplianceError as exc:
            status, error_type = failure(exc)
            put_failure(resp, status, str(exc), error_type)
            context_of(req.scope).fields["error"] = str(exc)
        finally:
            took_s = self._services.monotonic() - started
            self._services.count_rerank(self._kind, status, took_s, tokens)

    def _ranker(self) -> Ranker:
        found = self._services.ranker(self._kind)
        if found is None:
            raise PartUnavailable(_NONE, part="inference")
        return found

    async def _rank(self, ranker: Ranker, body: RerankRequest) -> Ranking:
        info = self._services.info
        if not body.query or not body.texts or not all(body.texts):
            raise InvalidRequest("`query` and `texts` cannot be empty", code="empty")
        if len(body.texts) > info.max_rerank_texts:
            raise RequestTooLarge(
                f"batch size {len(body.texts)} > maximum allowed batch size {info.max_rerank_texts}"
            )
        try:
            async with asyncio.timeout(info.rerank_timeout_s):
                return await ranker.rank(
                    body.query,
                    body.texts,
                    truncate=bool(body.truncate),
                    direction="left" if body.truncation_direction.lower() == "left" else "right",
                )
        except TimeoutError:
            raise PartUnavailable(
                f"not done within {info.rerank_timeout_s:g} s ([rerank] timeout_s)",
                part="inference",
            ) from None


def _ordered(body: RerankRequest, ranking: Ranking) -> list[dict[str, Any]]:
    """Best first; equals in the order they were sent.  The order is that of the raw scores: between
    0 and 1 two may round to the same."""
    shown = ranking.raw if body.raw_scores else ranking.scores
    order = sorted(range(len(shown)), key=lambda index: -ranking.raw[index])
    rows: list[dict[str, Any]] = [{"index": index, "score": shown[index]} for index in order]
    if body.return_text:
        for row in rows:
            row["text"] = body.texts[row["index"]]
    return rows
