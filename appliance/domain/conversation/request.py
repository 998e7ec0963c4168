"""What a client asked for: the one internal chat request every surface decodes to."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from appliance.domain.conversation.message import Message
from appliance.domain.conversation.options import Options


@dataclass(frozen=True, slots=True)
class Extensions:
    """The `x_` fields and `x-` headers (DESIGN.md 5); empty string means not given."""

    route: str = ""  # direct | rag | workflow
    workspace: str = ""
    project: str = ""
    conversation: str = ""


@dataclass(slots=True)  # not frozen: with so many fields that costs microseconds a request
class ChatRequest:
    """Never changed once it is made: a step that needs it otherwise makes another.

    `params` holds every other field of the body as sent, without `model`, `messages`, `system`,
    `stream` and `x_…`, in the words of `dialect`; a backend of the same dialect gets them
    unchanged, any other one is asked in `options`.  `option_names` says which option a param became
    (a static table of the surface); where the members of one param, `nested`, are params of their
    own, it has them as `nested.member`.

    A `text_completion` continues the text of its only message instead of answering it.
    """

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    include_usage: bool = False
    dialect: str = "openai_chat"
    params: Mapping[str, Any] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    option_names: Mapping[str, str] = field(default_factory=dict)
    extensions: Extensions = Extensions()
    dropped: tuple[str, ...] = ()  # fields nobody here knows and no backend is sent
    operation: Literal["chat", "text_completion"] = "chat"
    signs_reasoning: bool = False  # its surface hands reasoning out signed and wants it back so
    # Headers that belong to its dialect (anthropic-beta): sent to a backend of the same one alone.
    wire_headers: Mapping[str, str] = field(default_factory=dict)
    raw: bool = False  # nothing is to be parsed: a backend of this dialect may hand on its bytes
    nested: str = ""

    @property
    def last_user_text(self) -> str:
        """The text of the last user turn that asks something; empty when there is none."""
        asked = (m for m in reversed(self.messages) if m.role == "user" and not m.answers_tools)
        return next((m.text for m in asked), "")

    def uncarried(self, carries: Container[str]) -> tuple[str, ...]:
        """The params that a backend of another dialect, able to say `carries`, is not sent."""
        lost = [name for name in self._param_names() if self.option_names.get(name) not in carries]
        return (*lost, *(f"tools.{kind}" for kind in self.options.hosted_tools))

    def _param_names(self) -> Iterable[str]:
        members = self.params.get(self.nested) if self.nested else None
        if not isinstance(members, Mapping):
            return self.params
        others = (name for name in self.params if name != self.nested)
        return (*others, *(f"{self.nested}.{member}" for member in members))
