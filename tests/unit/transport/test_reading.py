"""A reader of a stored response is ended with words."""

import asyncio
from collections.abc import AsyncGenerator

from appliance.domain.errors import PartUnavailable
from appliance.domain.identity import Identity
from appliance.transport.reading import ReadingStream

READER = Identity("t1", "c1")


def failure(error: Exception, sequence: int) -> bytes:
    return f"{sequence} {error}\n\n".encode()


async def two_frames_and_silence(closed: list[bool]) -> AsyncGenerator[bytes, None]:
    try:
        yield b"3 a\n\n4 b\n\n"
        await asyncio.Event().wait()
    finally:
        closed.append(True)


async def test_an_interruption_has_the_next_number_and_closes_what_is_read() -> None:
    closed: list[bool] = []
    stream = ReadingStream(two_frames_and_silence(closed), 3, failure, READER)
    chunks = aiter(stream)
    assert await anext(chunks) == b"3 a\n\n4 b\n\n"
    loop = asyncio.get_running_loop()
    loop.call_soon(stream.interrupt, PartUnavailable("stopping", part="gateway"))
    assert [chunk async for chunk in chunks] == [b"5 stopping\n\n"]
    await stream.close()
    assert closed == [True]


async def test_a_reader_that_leaves_closes_what_it_read() -> None:
    closed: list[bool] = []
    stream = ReadingStream(two_frames_and_silence(closed), 3, failure, READER)
    await anext(aiter(stream))
    await stream.close()
    stream.interrupt(PartUnavailable("stopping", part="gateway"))
    assert closed == [True]


async def one_frame_and_a_bug() -> AsyncGenerator[bytes, None]:
    yield b"3 a\n\n"
    raise RuntimeError("a bug")


async def test_what_nobody_thought_of_ends_it_in_band_too() -> None:
    stream = ReadingStream(one_frame_and_a_bug(), 3, failure, READER)
    assert [chunk async for chunk in stream] == [b"3 a\n\n", b"4 a bug\n\n"]
    await stream.close()
