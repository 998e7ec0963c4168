"""The watch for a client that hangs up: when it begins, what it ends, and that nothing stays behind
for the collector to find."""

import asyncio
import gc
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from appliance.domain.identity import Identity
from appliance.transport.context import SCOPE_KEY, RequestContext, context_of
from appliance.transport.disconnect import GRACE_S, DisconnectMiddleware
from appliance.transport.middleware import Receive, Scope, Send


class Client:
    """Sends a body, and may leave; `watched` is set when somebody waits for that."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()
        self.watched = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        self.watched.set()
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        raise AssertionError(f"nobody answers here: {message}")

    async def ask(self, answered: asyncio.Event) -> None:
        """Have a request answered as soon as `answered` is set."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            context = context_of(scope)
            context.cleanup = partial(_nothing_of, context)
            context.interrupt = lambda error: context.fields.update(error=error)
            context.on_body_read()
            await answered.wait()

        context = RequestContext(Identity("t" * 32, "thread"), {}, 0.0)
        scope = {"type": "http", "method": "POST", SCOPE_KEY: context}
        await DisconnectMiddleware(app)(scope, self.receive, self.send)


async def _nothing_of(context: RequestContext) -> None:
    """What a stream leaves in its context refers to it."""


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Only what nothing refers to is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def contexts() -> int:
    return sum(type(found) is RequestContext for found in gc.get_objects())


async def test_an_answer_that_comes_soon_is_never_watched() -> None:
    client, answered = Client(), asyncio.Event()
    answered.set()
    await client.ask(answered)
    await asyncio.sleep(3 * GRACE_S)
    assert not client.watched.is_set()


async def test_a_client_that_leaves_ends_its_request() -> None:
    client = Client()
    client.leaves.set()
    async with asyncio.timeout(60):
        await client.ask(asyncio.Event())


@pytest.mark.parametrize("watched", [False, True])
async def test_a_request_is_freed_as_soon_as_it_is_over(watched: bool, uncollected: None) -> None:
    client, answered, before = Client(), asyncio.Event(), contexts()
    asking = asyncio.ensure_future(client.ask(answered))
    if watched:
        await client.watched.wait()
    answered.set()
    await asking
    del asking
    async with asyncio.timeout(60):
        while contexts() > before:  # the watches to begin are looked through every GRACE_S
            await asyncio.sleep(GRACE_S)


async def cancelled_in_a_send(client: Client, *, taken_back: bool) -> None:
    """An answer whose headers are out is cancelled, though its client has not left."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        context_of(scope).status = 200
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        try:
            await asyncio.Event().wait()
        finally:
            if taken_back:  # as a timeout does that has run out
                task.uncancel()

    context = RequestContext(Identity("t" * 32, "thread"), {}, 0.0)
    scope = {"type": "http", "method": "POST", SCOPE_KEY: context}
    await DisconnectMiddleware(app)(scope, client.receive, client.send)


async def test_a_limit_that_runs_out_in_a_send_cuts_the_stream_and_nothing_else() -> None:
    await cancelled_in_a_send(Client(), taken_back=True)


async def test_a_request_that_is_cancelled_from_outside_stays_so() -> None:
    asking = asyncio.ensure_future(cancelled_in_a_send(Client(), taken_back=False))
    await asyncio.wait({asking})
    assert asking.cancelled()
