"""Frames that wait for their turn."""

import asyncio

from appliance.transport.inbox import Inbox


async def test_frames_are_taken_in_the_order_they_came() -> None:
    inbox = Inbox(4, 100)
    assert inbox.offer("first")
    assert inbox.offer("second")
    assert [await inbox.take(), await inbox.take()] == ["first", "second"]


async def test_who_takes_waits_for_the_next_one() -> None:
    inbox = Inbox(4, 100)
    taking = asyncio.ensure_future(inbox.take())
    await asyncio.sleep(0)
    assert not taking.done()
    inbox.offer("late")
    assert await taking == "late"


async def test_only_so_many_wait_and_only_so_much() -> None:
    inbox = Inbox(2, 10)
    assert [inbox.offer("a"), inbox.offer("b"), inbox.offer("c")] == [True, True, False]
    assert await inbox.take() == "a"
    assert not inbox.offer("0123456789")
    assert inbox.offer("012345678")


async def test_one_frame_alone_always_has_room() -> None:
    assert Inbox(1, 3).offer("longer than that")


async def test_a_closed_one_gives_nothing_out_any_more() -> None:
    inbox = Inbox(4, 100)
    taking = asyncio.ensure_future(inbox.take())
    await asyncio.sleep(0)
    inbox.close()
    assert await taking is None
    inbox.offer("too late")
    assert await inbox.take() is None
