"""What scores texts against a query, as the domain needs it: our inference role."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from appliance.domain.identity import Identity

Kind = Literal["maxsim", "fusion"]


@dataclass(frozen=True, slots=True)
class Reranker:
    """One that the role has: `model` is the name it answers to, `kind` how it works."""

    model: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Scores:
    """A number between 0 and 1 for each text, in the order of the texts; `input_tokens` is what the
    models read, None where the role does not say."""

    values: tuple[float, ...]
    input_tokens: int | None


class RerankRole(Protocol):
    """Both raise PartUnavailable(part="inference") when the role cannot be reached."""

    async def rerankers(self) -> tuple[Reranker, ...]:
        """Those it has now, the best first; there is always one."""

    async def score(
        self,
        reranker: Reranker,
        query: str,
        texts: Sequence[str],
        identity: Identity | None = None,
    ) -> Scores:
        """Texts longer than the model reads are cut.  Raises InvalidRequest, RequestTooLarge."""
