"""The inference role's rerankers in memory."""

from collections.abc import Sequence

from appliance.domain.identity import Identity
from appliance.domain.rerank.ports import Reranker, Scores

FUSION = Reranker("bm25+words", "fusion")
MAXSIM = Reranker("colbert-small", "maxsim")


class FakeRole:
    """Scores a text by how many of its words the query has; `asked` is who scored what."""

    def __init__(self, *rerankers: Reranker, fails: Exception | None = None) -> None:
        self.has = rerankers or (FUSION,)
        self.fails = fails
        self.asked: list[tuple[str, str, tuple[str, ...]]] = []

    async def rerankers(self) -> tuple[Reranker, ...]:
        if self.fails is not None:
            raise self.fails
        return self.has

    async def score(
        self,
        reranker: Reranker,
        query: str,
        texts: Sequence[str],
        identity: Identity | None = None,
    ) -> Scores:
        self.asked.append((reranker.model, query, tuple(texts)))
        wanted = set(query.split())
        shares = (len(wanted & set(text.split())) / (len(wanted) or 1) for text in texts)
        return Scores(tuple(shares), 7)
