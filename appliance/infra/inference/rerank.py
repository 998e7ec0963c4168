"""The inference role's rerankers, for the gateway: which there are, and what they score.

On the request path, so it imports no numpy.
"""

from collections.abc import Mapping, Sequence

import msgspec

from appliance.config.schema import InferenceConfig, RerankConfig
from appliance.domain.identity import Identity
from appliance.domain.rerank.ports import Kind, Reranker, Scores
from appliance.infra.http.client import HttpClient
from appliance.infra.inference.role import Answered, Role, encoded, refused, unavailable

_ROUTES: Mapping[Kind, str] = {"fusion": "/rerank", "maxsim": "/maxsim"}
_HEADERS = {"content-type": "application/json", "accept": "application/json"}
_INFO_BYTES = 64 * 1024
_ROW_BYTES = 128  # {"index":999,"score":0.12345678901234567} and some room


class _Listed(msgspec.Struct):
    model: str
    kind: Kind


class _Info(msgspec.Struct):
    rerankers: list[_Listed] = msgspec.field(default_factory=list)


class _Row(msgspec.Struct):
    index: int
    score: float


_decode_info = msgspec.json.Decoder(_Info).decode
_decode_rows = msgspec.json.Decoder(list[_Row]).decode


class RerankClient:
    """Implements domain.rerank.ports.RerankRole.  Opens nothing until it is asked."""

    def __init__(self, inference: InferenceConfig, rerank: RerankConfig, http: HttpClient) -> None:
        self._role = Role(inference.url, http)
        self._info_timeout_s = inference.timeout_s
        self._timeout_s = rerank.timeout_s

    async def rerankers(self) -> tuple[Reranker, ...]:
        """As `/info` has them.  Asked for every call: a role may have been started anew, with
        another folder."""
        answered = await self._role.get("/info", _INFO_BYTES, self._info_timeout_s)
        if answered.status != 200:
            raise refused(answered, "model")
        try:
            listed = _decode_info(answered.body).rerankers
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise unavailable(f"said of itself what nobody understands: {exc}") from exc
        if not listed:
            raise unavailable("names no reranker: it is of an older release")
        return tuple(Reranker(each.model, each.kind) for each in listed)

    async def score(
        self,
        reranker: Reranker,
        query: str,
        texts: Sequence[str],
        identity: Identity | None = None,
    ) -> Scores:
        """Raises InvalidRequest, RequestTooLarge, PartUnavailable after `[rerank] timeout_s`."""
        limit = _INFO_BYTES + _ROW_BYTES * len(texts)
        answered = await self._role.post(
            _ROUTES[reranker.kind],
            _HEADERS,
            encoded({"query": query, "texts": texts, "truncate": True}, "documents"),
            identity,
            limit,
            self._timeout_s,
        )
        if answered.status != 200:
            raise refused(answered, "documents")
        return Scores(_values(answered, len(texts)), answered.input_tokens)


def _values(answered: Answered, count: int) -> tuple[float, ...]:
    """By index.  Raises PartUnavailable unless there is one score for each text."""
    try:
        found = {row.index: row.score for row in _decode_rows(answered.body)}
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise unavailable(f"answered what are no scores: {exc}") from exc
    if sorted(found) != list(range(count)):
        raise unavailable(f"answered {len(found)} scores for {count} texts")
    return tuple(found[index] for index in range(count))
