"""What a client asked for: the one internal chat request every surface decodes to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.domain.conversation.message import Message


@dataclass(frozen=True, slots=True)
class Extensions:
    """The `x_` fields and `x-` headers (DESIGN.md 5); empty string means not given."""

    route: str = ""  # direct | rag | workflow
    workspace: str = ""
    project: str = ""
    conversation: str = ""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """`params` holds every other field of the body as sent, without `model`, `messages`, `stream`
    and `x_…`, in the words of `dialect`; a backend of the same dialect gets them unchanged."""

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    include_usage: bool = False
    dialect: str = "openai_chat"
    params: Mapping[str, Any] = field(default_factory=dict)
    extensions: Extensions = Extensions()
    dropped: tuple[str, ...] = ()  # fields nobody here knows and no backend is sent

    @property
    def last_user_text(self) -> str:
        """The text of the last user turn; empty when there is none."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")
