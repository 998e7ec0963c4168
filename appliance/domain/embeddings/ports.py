"""The embedding model, as the domain needs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.domain.identity import Identity
from appliance.domain.vectorstore.ports import Vector


@dataclass(frozen=True, slots=True)
class Embedded:
    """Unit-length vectors in the order of the texts, and the tokens the model read (None: not
    reported).  `backend` made them, in the dialect `provider`: by default our own role."""

    vectors: list[Vector]
    model: str
    input_tokens: int | None
    backend: str = "inference"
    provider: str = "inference"


class Embedder(Protocol):
    """Raises PartUnavailable(part="inference") when the role cannot be reached."""

    @property
    def model(self) -> str:
        """The name stored beside every vector it makes, e.g. `all-minilm-l6-v2`."""

    async def embed(
        self, texts: Sequence[str], *, truncate: bool = True, identity: Identity | None = None
    ) -> Embedded:
        """One vector of 256 numbers for each text; `identity` names the exchange they belong to.

        Raises ContextLengthExceeded when a text is longer than the model reads and `truncate` is
        False.
        """
