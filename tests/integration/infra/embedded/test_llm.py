import asyncio
import os
from collections.abc import AsyncIterator

import httpx
import pytest

from appliance.infra.embedded.language_model import ALIAS, CONTEXT_TOKENS, SLOTS, Llm
from appliance.infra.embedded.wheels import llm_model
from tests.fakes.ports import free_port


@pytest.fixture
async def server() -> AsyncIterator[Llm]:
    llm = Llm(llm_model(), free_port(), "secret")
    process = await asyncio.create_subprocess_exec(
        *llm.command(),
        env={**os.environ, **llm.environment()},
        stderr=asyncio.subprocess.DEVNULL,
    )
    for _ in range(2400):
        if await llm.healthy():
            break
        await asyncio.sleep(0.05)
    yield llm
    process.terminate()
    await process.wait()


async def test_it_answers_with_its_key_only(server: Llm) -> None:
    body = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    async with httpx.AsyncClient(base_url=server.root, timeout=120, trust_env=False) as client:
        refused = await client.post("/v1/chat/completions", json=body)
        assert refused.status_code == 401
        client.headers["authorization"] = f"Bearer {server.key}"
        answer = (await client.post("/v1/chat/completions", json=body)).json()
        assert answer["choices"][0]["message"]["content"]
        assert answer["usage"]["completion_tokens"] <= 8
        models = (await client.get("/v1/models")).json()
        assert [row["id"] for row in models["data"]] == [ALIAS]
        props = (await client.get("/props")).json()
        assert props["total_slots"] == SLOTS
        assert props["default_generation_settings"]["n_ctx"] == CONTEXT_TOKENS


async def test_it_does_not_run_without_a_key() -> None:
    llm = Llm(llm_model(), free_port(), "")
    process = await asyncio.create_subprocess_exec(
        *llm.command(), stderr=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    _, words = await process.communicate()
    assert process.returncode == 1
    assert b"does not run without a key" in words


def test_the_key_is_not_on_the_command_line() -> None:
    assert "secret" not in Llm(llm_model(), 1, "secret").command()
