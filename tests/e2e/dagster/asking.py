"""What is asked of the appliance in this folder: a conversation that every asset has a part of,
single questions, and events by the thousand."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import nats

from appliance.domain.events.chat import PERSIST
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.lineage import LINEAGE
from appliance.domain.events.topics import events_of
from tests.e2e.asking import CHAT, question
from tests.fakes.answers import chat
from tests.fakes.kept_events import recent
from tests.fakes.scripted_backend import ScriptedBackend

DOCUMENT = "The bicycle stands in the garage behind the blue door. Its lock opens with 4711.\n"
CORRELATION = "talk-about-a-bicycle"
CALL = ("call_1", "look_up", '{"word": "bicycle"}')
FUNCTION = {"name": CALL[1], "arguments": CALL[2]}
_IN_FLIGHT = 256


@dataclass(frozen=True, slots=True)
class Talk:
    """`traces` in their order: a question whose answer is a tool call, its result, and a second
    question; the two questions took knowledge along."""

    traces: tuple[str, str, str]

    @property
    def with_knowledge(self) -> tuple[str, str]:
        return self.traces[0], self.traces[2]


def hold_conversation(url: str, backend: ScriptedBackend) -> Talk:
    """Two turns with a tool call in the first, as an agent holds them."""
    backend.queue(
        chat((), tool_calls=[CALL]), chat("It is in the garage."), chat(["With ", "4711."])
    )
    first = {"role": "user", "content": "Where does the bicycle stand?"}
    call = {"role": "assistant", "content": None, "tool_calls": [_asked()]}
    result = {"role": "tool", "tool_call_id": CALL[0], "content": "bicycle: seen in the garage"}
    said = {"role": "assistant", "content": "It is in the garage."}
    second = {"role": "user", "content": "And how does its lock open?"}
    tools = {"tools": [{"type": "function", "function": {"name": CALL[1], "parameters": {}}}]}
    talk: dict[str, Any] = {"x_conversation": "bicycle", **tools}
    return Talk(
        (
            ask(url, question(**talk, x_route="rag") | {"messages": [first]}),
            ask(url, question(**talk, x_route="direct") | {"messages": [first, call, result]}),
            ask(
                url,
                question(**talk, x_route="rag", stream=True)
                | {"messages": [first, call, result, said, second]},
            ),
        )
    )


def ask(url: str, body: dict[str, Any] | None = None, *, correlation: str = CORRELATION) -> str:
    """The trace id of an answer with 200."""
    headers = {"X-Correlation-ID": correlation}
    response = httpx.post(url + CHAT, json=body or question(), headers=headers, timeout=60)
    assert response.status_code == 200, response.text
    if body and body.get("x_route") == "rag":
        assert response.headers["x-rag"] == "1", response.headers
    trace_id: str = response.headers["x-request-id"]
    return trace_id


def flood(url: str, count: int, *, first: int) -> list[str]:
    """Publish the chats of `count` exchanges and then their lineages, as a gateway ships them;
    their trace ids.  `first` numbers them: no two floods may overlap."""
    exchanges = [_small(number) for number in range(first, first + count)]
    for subject in (PERSIST, LINEAGE):
        asyncio.run(_publish(url, exchanges, subject))
    return [exchange.trace_id for exchange in exchanges]


def _small(number: int) -> Exchange:
    """Without tools, knowledge and text: there is nothing to embed, which would take ten times as
    long as all the rest."""
    return recent(
        number,
        messages=({"role": "user", "content": ""},),
        answer="",
        tool_calls=(),
        tool_results=(),
        retrieval=None,
    )


async def _publish(url: str, exchanges: list[Exchange], subject: str) -> None:
    events = [e for each in exchanges for e in events_of(each) if e.subject == subject]
    client = await nats.connect(url)
    try:
        js = client.jetstream(timeout=30)
        for at in range(0, len(events), _IN_FLIGHT):
            await asyncio.gather(
                *(
                    js.publish(
                        event.subject,
                        msgspec.json.encode(event.body),
                        headers={"Nats-Msg-Id": event.event_id},
                    )
                    for event in events[at : at + _IN_FLIGHT]
                )
            )
    finally:
        await client.close()


def _asked() -> dict[str, Any]:
    return {"id": CALL[0], "type": "function", "function": FUNCTION}
