"""What moderation needs: somebody who scores inputs by category."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from appliance.domain.identity import Identity

# OpenAI's names, in OpenAI's order (WIRE.md 1.6).
CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


@dataclass(frozen=True, slots=True)
class ModerationInput:
    """One thing to judge: its texts in order, and the URLs of its images (data: URLs included).
    `parts` is True where it was sent as a list of parts, which only together are one input."""

    texts: tuple[str, ...]
    images: tuple[str, ...] = ()
    parts: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one input: by category whether it is flagged, its score from 0 to 1, and which types of
    input (`text`, `image`) that score looked at; empty where a remote moderator did not say.
    `more` is what else it said, as it said it; None stands where it had nothing to say."""

    flagged: bool
    categories: Mapping[str, bool | None]
    scores: Mapping[str, float | None]
    applied: Mapping[str, tuple[str, ...]]
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moderated:
    """A verdict for each input, in order.  `model` made them, on `backend`, in the wire `provider`;
    `id` and `more` are those of a remote answer."""

    model: str
    verdicts: tuple[Verdict, ...]
    backend: str
    provider: str
    id: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


class Moderator(Protocol):
    """Scores inputs; local or remote."""

    @property
    def name(self) -> str:
        """What records and errors call it."""

    def serves(self, model: str) -> bool:
        """True for a model that may be asked for; "" is no model in particular."""

    async def score(
        self,
        inputs: Sequence[ModerationInput],
        model: str,
        fields: Mapping[str, Any],
        identity: Identity,
    ) -> Moderated:
        """A verdict for each input; `fields` are those of the request that only a server of the
        same wire knows.

        Raises InvalidRequest for an input it cannot judge, PartUnavailable(part="moderation") where
        it cannot be reached, the BackendError tree for what it answers instead.
        """
