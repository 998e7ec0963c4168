"""Bring knowledge along: retrieve for the last user turn and put the chunks beside the client's
messages.

What an agent's program puts around a question for the model to know (Claude Code: the date, its
memory files, in `<system-reminder>` blocks) is no part of what is looked up.  Messages stay as they
are.
"""

from appliance.domain.conversation.estimate import prompt_bytes
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.events.exchange import Retrieval
from appliance.domain.identity import Identity
from appliance.domain.knowledge.prompt import inject
from appliance.domain.knowledge.retrieve import Retriever
from appliance.domain.routing.candidate import Plan

DEFAULT_OUTPUT_TOKENS = 512
_BEGIN, _END = "<system-reminder>", "</system-reminder>"


class Augmenter:
    """Never raises for a part that is down: the exchange goes on without context and says so."""

    def __init__(self, retriever: Retriever, *, workspace: str) -> None:
        self._retriever = retriever
        self._workspace = workspace

    def workspace(self, request: ChatRequest, plan: Plan) -> str:
        """The workspace a request reads: its own, else its model's, else the configured one."""
        return request.extensions.workspace or plan.workspace or self._workspace

    async def augment(
        self,
        request: ChatRequest,
        plan: Plan,
        context_window: int,
        identity: Identity,
        *,
        began_s: float = 0.0,
    ) -> tuple[tuple[Message, ...], Retrieval]:
        """The messages for the backend, and what retrieval found for the record.

        `context_window` in tokens, 0 when nobody knows it; `began_s` since the request's arrival.
        """
        found = await self._retriever.retrieve(
            without_reminders(request.last_user_text),
            workspace=self.workspace(request, plan),
            context_window=context_window,
            prompt_bytes=prompt_bytes(request),
            max_output_tokens=request.options.max_output_tokens or DEFAULT_OUTPUT_TOKENS,
            identity=identity,
            began_s=began_s,
        )
        return inject(request.messages, found.chunks), found.retrieval


def without_reminders(text: str) -> str:
    """`text` without the whole `<system-reminder>` blocks it begins and ends with, nor the space
    around it; one in its midst stays, and so does one that is not closed."""
    start, end = _after_space(text, 0), _before_space(text, len(text))
    while text.startswith(_BEGIN, start, end) and (at := text.find(_END, start, end)) >= 0:
        start = _after_space(text, at + len(_END))
    while text.endswith(_END, start, end) and (at := text.rfind(_BEGIN, start, end)) >= 0:
        end = _before_space(text, at)
    return text[start:end]


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _before_space(text: str, at: int) -> int:
    while at > 0 and text[at - 1].isspace():
        at -= 1
    return at
