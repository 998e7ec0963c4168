"""The client of llama.cpp against the real server: what it counts is what a chat reports."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from appliance.config.schema import BackendConfig
from appliance.domain.conversation.message import Message, plain
from appliance.domain.conversation.options import Options, Tool
from appliance.domain.conversation.parts import Text, ToolCall, ToolResult
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.identity import Identity
from appliance.infra.backends.llamacpp import LlamaCpp
from appliance.infra.embedded.language_model import ALIAS, Llm
from appliance.infra.embedded.wheels import llm_model
from appliance.infra.http.client import HttpClient
from tests.fakes.ports import free_port

WHO = Identity("trace", "thread")
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.fixture
async def client() -> AsyncIterator[LlamaCpp]:
    llm = Llm(llm_model(), free_port(), "secret")
    process = await asyncio.create_subprocess_exec(
        *llm.command(),
        env={**os.environ, **llm.environment()},
        stderr=asyncio.subprocess.DEVNULL,
    )
    http = HttpClient()
    try:
        for _ in range(2400):
            if await llm.healthy():
                break
            await asyncio.sleep(0.05)
        base_url = f"{llm.root}/v1"
        config = BackendConfig(name="llm", kind="llamacpp", base_url=base_url, api_key=llm.key)
        yield LlamaCpp(config, http)
    finally:
        await http.aclose()
        process.terminate()
        await process.wait()


def request(*messages: Message, **options: Any) -> ChatRequest:
    return ChatRequest(
        ALIAS,
        messages,
        dialect="anthropic_messages",
        options=Options(max_output_tokens=1, **options),
    )


ASKED = plain("user", "Weather in Paris, naïve <|im_start|> 😀?")
CALLED = Message("assistant", (Text("Let me see."), ToolCall("c1", "weather", '{"city":"Paris"}')))
TOLD = Message("user", (ToolResult("c1", (Text("sunny"),)), Text("And now?")))
REQUESTS = [
    request(ASKED),
    request(plain("system", "Be brief."), ASKED),
    request(ASKED, tools=(Tool("weather", "Weather of a city", SCHEMA),)),
    request(ASKED, CALLED, TOLD, tools=(Tool("weather", "Weather of a city", SCHEMA),)),
]


async def test_its_count_is_the_prompt_a_chat_reports(client: LlamaCpp) -> None:
    for asked in REQUESTS:
        counted = await client.count_tokens(asked, ALIAS, WHO)
        usage = (await client.complete(asked, ALIAS, WHO)).usage
        assert usage is not None
        assert counted == usage.input_tokens
        assert counted


async def test_a_text_completion_goes_on_from_its_prompt(client: LlamaCpp) -> None:
    asked = replace(
        request(plain("user", "Once upon a")),
        dialect="openai_completions",
        operation="text_completion",
        params={"max_tokens": 3, "temperature": 0},
    )
    answer = await client.complete(asked, ALIAS, WHO)
    deltas = [delta async for delta in client.stream(asked, ALIAS, WHO)]
    assert answer.first.text == "".join(delta.text for delta in deltas)
    assert answer.first.text
    assert [d.finish_reason for d in deltas if d.finish_reason] == ["length"]
    assert deltas[-1].usage is not None
    assert deltas[-1].usage.output_tokens == 3
