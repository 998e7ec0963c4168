"""A ChatBackend in memory: plays one behaviour a call, the last one again and again."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.domain.chat.ports import ModelCard
from appliance.domain.conversation.collect import Collector
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Delta
from appliance.domain.conversation.usage import Usage
from appliance.domain.identity import Identity

Step = Delta | Exception | float | asyncio.Event  # a float is a pause in seconds


@dataclass
class FakeBackend:
    """`plays`: for each call its steps; an exception among them is raised, a float or an event is
    waited for."""

    name: str = "local"
    plays: Sequence[Sequence[Step]] = ()
    listed: Sequence[ModelCard] | Exception = ()
    dialect: str = "openai_chat"
    carries: frozenset[str] = frozenset()
    counted: int | Exception | None = None
    asked: list[tuple[str, ChatRequest]] = field(default_factory=list)  # model, request
    open: int = 0  # calls that have begun and not ended
    aborted: int = 0  # calls that were closed or cancelled half way
    probes: int = 0
    probe_s: float = 0.0

    def __post_init__(self) -> None:
        self._left = deque(self.plays)

    def speaks(self, dialect: str) -> bool:
        return dialect == self.dialect

    async def complete(self, request: ChatRequest, model: str, identity: Identity) -> Answer:
        whole = Collector()
        async for delta in self.stream(request, model, identity):
            whole.add((delta,))
        return Answer(whole.choices, whole.usage, model)

    async def stream(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> AsyncGenerator[Delta, None]:
        self.asked.append((model, request))
        steps = self._left.popleft() if len(self._left) > 1 else self._left[0]
        self.open += 1
        try:
            for step in steps:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        except (GeneratorExit, asyncio.CancelledError):
            self.aborted += 1
            raise
        finally:
            self.open -= 1

    async def models(self) -> list[ModelCard]:
        self.probes += 1
        await asyncio.sleep(self.probe_s)
        if isinstance(self.listed, Exception):
            raise self.listed
        return list(self.listed)

    async def count_tokens(
        self, request: ChatRequest, model: str, identity: Identity
    ) -> int | None:
        if isinstance(self.counted, Exception):
            raise self.counted
        return self.counted

    async def embed(
        self, inputs: Sequence[Any], model: str, fields: dict[str, Any], identity: object = None
    ) -> dict[str, Any]:
        raise NotImplementedError


def said(*words: str) -> list[Step]:
    """The steps of a good answer, its opening frame without content first."""
    opening = Delta(model="m-upstream")
    return [
        opening,
        *(Delta(text=word) for word in words),
        Delta(finish_reason="stop", usage=Usage(7, 2)),
    ]


@dataclass
class KeptExchanges:
    """An ExchangeSink; `answer` is what it returns."""

    answer: bool = True
    kept: list[Any] = field(default_factory=list)

    def keep(self, exchange: Any) -> bool:
        self.kept.append(exchange)
        return self.answer
