"""A backend that keeps failing is passed by: what the chat service tells Health, and asks it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from appliance.domain.chat.ports import Media
from appliance.domain.chat.service import ChatLimits
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import Image
from appliance.domain.conversation.stream import Delta
from appliance.domain.errors import (
    BackendError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    InvalidRequest,
)
from tests.fakes.chat_backend import FakeBackend, Step, said
from tests.unit.domain.chat.test_service import PATIENT, SHAPES, Served

GONE = BackendUnavailable("gone", backend="a")
REASON = "name m; a is ejected: {} failures"


def served(*plays: Sequence[Step], limits: ChatLimits = PATIENT) -> Served:
    """`a` plays what is given, its last again and again; `b` always answers."""
    return Served(FakeBackend("a", plays), FakeBackend("b", [said("b")]), limits=limits)


@SHAPES
async def test_a_backend_that_failed_three_times_is_not_asked_first(shape: str) -> None:
    both = served([GONE])
    for _ in range(2):  # each tries it twice, then its fallback answers
        await both.ask(shape, both.turn(stream=shape == "stream"))
    turn = both.turn(stream=shape == "stream")
    await both.ask(shape, turn)
    assert turn.recorded is not None
    assert [a.backend for a in turn.recorded.attempts] == ["b"]
    assert turn.recorded.router_reason == REASON.format(4)
    assert turn.recorded.backend == "b"


@SHAPES
async def test_a_good_answer_between_failures_keeps_a_backend_in_its_place(shape: str) -> None:
    both = served([GONE], [GONE], said("a"), [GONE], [GONE], said("a"))
    for expected in ("b", "a", "b", "a"):
        turn = both.turn(stream=shape == "stream")
        await both.ask(shape, turn)
        assert turn.recorded is not None
        assert turn.recorded.backend == expected


@SHAPES
async def test_refused_requests_do_not_speak_against_a_backend(shape: str) -> None:
    both = served([BackendRefused("bad field", backend="a", status=400)])
    for _ in range(5):
        turn = both.turn(stream=shape == "stream")
        with pytest.raises(BackendRefused):
            await both.ask(shape, turn)
        assert turn.plan is not None
        assert turn.plan.reason == "name m"


async def test_a_stream_that_breaks_off_counts() -> None:
    both = served([*said("half")[:-1], GONE])
    for _ in range(3):
        with pytest.raises(BackendError):
            await both.stream(both.turn())
    turn = both.turn()
    await both.stream(turn)
    assert turn.plan is not None
    assert turn.plan.reason == REASON.format(3)


async def test_an_answer_that_never_came_counts_once_for_each_exchange() -> None:
    both = served([60.0], limits=ChatLimits(0.02, 0.02))
    for n in range(3):
        turn = both.turn(stream=False)
        with pytest.raises(BackendTimeout):
            await both.service.once(turn)
        assert turn.plan is not None
        assert turn.plan.reason == "name m", n
    turn = both.turn(stream=False)
    await both.service.once(turn)
    assert turn.plan is not None
    assert turn.plan.reason == REASON.format(3)


@pytest.mark.parametrize(
    ("play", "reason"), [([60.0], REASON.format(3)), ([Delta(text="word"), 60.0], "name m")]
)
async def test_a_stream_given_up_on_counts_unless_it_had_begun(
    play: Sequence[Step], reason: str
) -> None:
    both = served(play)
    for _ in range(3):
        turn = both.turn()
        turn.expires_at = turn.monotonic()  # as whoever bounds its time does
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await both.stream(turn)
    last = both.turn()
    reading = asyncio.ensure_future(both.stream(last))
    while last.plan is None:
        await asyncio.sleep(0)
    reading.cancel()
    assert last.plan.reason == reason


@SHAPES
async def test_an_error_a_backend_gave_itself_counts_once(shape: str) -> None:
    slow = [BackendTimeout("stopped answering", backend="b")]
    both = Served(FakeBackend("a", [slow]), FakeBackend("b", [slow]))
    for _ in range(3):
        turn = both.turn(stream=shape == "stream")
        with pytest.raises(BackendTimeout):
            await both.ask(shape, turn)
        assert turn.plan is not None
        assert turn.plan.reason == "name m"


class Slow:
    """A MediaFetcher whose servers never answer."""

    async def fetch(self, url: str) -> Media:
        await asyncio.sleep(60)
        raise AssertionError("the limit comes first")


async def test_what_a_request_waits_for_before_it_is_sent_speaks_against_nobody() -> None:
    both = served(said("a"), limits=ChatLimits(0.05, 0.05))
    both.service._fetcher = Slow()
    image = Message("user", (Image(url="http://slow.example/cat.png"),))
    for _ in range(4):
        turn = both.turn(stream=False)
        turn.request = replace(turn.request, messages=(image,))
        with pytest.raises(BackendTimeout):
            await both.service.once(turn)
    assert both.health.gauge() == {"a": 0.0, "b": 0.0}
    assert all(not backend.asked for backend in both.backends)


async def test_a_request_that_is_refused_before_it_is_sent_costs_no_trial() -> None:
    both = served([GONE], [GONE], [GONE], [GONE], said("a"))
    for _ in range(2):
        await both.ask("once", both.turn(stream=False))
    both.later(31)
    with pytest.raises(InvalidRequest):
        await both.ask("once", both.turn(stream=False, route="nowhere"))
    turn = both.turn(stream=False)
    await both.ask("once", turn)
    assert turn.recorded is not None
    assert turn.recorded.backend == "a"
