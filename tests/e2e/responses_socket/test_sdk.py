"""OpenAI's own client of WebSocket mode, unmodified."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.fakes.answers import chat
from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend

TOOL: Any = {
    "type": "function",
    "name": "weigh",
    "parameters": {"type": "object"},
    "strict": False,
}


@pytest.fixture
def openai(gateway: GatewayProcess, backend: ScriptedBackend) -> Iterator[OpenAI]:
    backend.forget()
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def turn(connection: Any) -> Any:
    """The last event of the turn that runs."""
    for event in connection:
        if event.type in ("response.completed", "response.failed", "error"):
            return event
    raise AssertionError("the connection was closed")


def test_turns_of_one_connection(openai: OpenAI, backend: ScriptedBackend) -> None:
    backend.queue(chat("", tool_calls=[("call_1", "weigh", '{"what":"tea"}')]), chat("4 g"))
    with openai.responses.connect() as connection:
        connection.response.create(model="scripted", input="How heavy?", tools=[TOOL], store=False)
        called = turn(connection).response
        assert called.output[0].name == "weigh"
        connection.response.create(
            model="scripted",
            previous_response_id=called.id,
            tools=[TOOL],
            store=False,
            input=[{"type": "function_call_output", "call_id": "call_1", "output": "4"}],
        )
        assert turn(connection).response.output_text == "4 g"
    assert len(backend.requests[-1].json["messages"]) == 3


def test_an_error_is_an_event_and_the_connection_goes_on(openai: OpenAI) -> None:
    with openai.responses.connect() as connection:
        connection.response.create(model="scripted", input="Hi", previous_response_id="resp_none")
        failed = turn(connection)
        assert (failed.status, failed.error.code) == (404, "previous_response_not_found")
        connection.response.create(model="scripted", input="Hi", store=False)
        assert turn(connection).type == "response.completed"


async def test_the_asynchronous_client(gateway: GatewayProcess, backend: ScriptedBackend) -> None:
    async with (
        AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
        client.responses.connect() as connection,
    ):
        await connection.response.create(model="scripted", input="Hi", store=False)
        said = []
        async for event in connection:
            if event.type == "response.output_text.delta":
                said.append(event.delta)
            if event.type == "response.completed":
                break
    assert "".join(said) == "Hello there, friend."
