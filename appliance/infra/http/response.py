"""What a request came back with: status, headers, and a body that is read as it arrives."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from .connection import Connection
from .errors import BodyTooLarge, HttpError


class Response:
    """The answer to one request.  Whoever has it reads it whole or calls `aclose`.

    `release` gets the connection when the last byte was read; from then on it is not ours.
    """

    __slots__ = ("_connection", "_release", "raw_headers", "status")

    def __init__(self, connection: Connection, release: Callable[[Connection], None]) -> None:
        self.status = connection.status
        self.raw_headers = connection.raw_headers  # as received: (name, value) in order
        self._connection: Connection | None = connection
        self._release = release

    def header(self, name: str) -> str | None:
        """The value of a header, whatever its case; several are joined by a comma."""
        wanted = name.lower().encode("latin-1")
        values = [value for key, value in self.raw_headers if key.lower() == wanted]
        return b", ".join(values).decode("latin-1") if values else None

    def chunks(self, read_timeout_s: float) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive, what is already there in one; never an empty one.

        Raises ReadTimeout after `read_timeout_s` of silence, Cut, Malformed.  Not a generator:
        leaving it half read holds nothing, `aclose` is what hangs up.
        """
        return _Chunks(self, read_timeout_s)

    async def read(self, limit_bytes: int, read_timeout_s: float) -> bytes:
        """The whole body; raises BodyTooLarge past `limit_bytes`, and as `chunks` does."""
        pieces = []
        size_bytes = 0
        while self._connection is not None and (piece := await self._next(read_timeout_s)):
            size_bytes += len(piece)
            if size_bytes > limit_bytes:
                await self.aclose()
                raise BodyTooLarge(f"the response is larger than {limit_bytes} bytes")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def drain(self, within_s: float) -> None:
        """Let the rest of the body pass, so that the connection can be used again; for a body of
        which nothing more is wanted.  Raises nothing: where the end does not come `within_s`, or
        not as it should, the connection is closed."""
        if self._connection is None:
            return
        with suppress(HttpError, TimeoutError):
            async with asyncio.timeout(within_s):
                while await self._next(within_s):
                    pass

    async def aclose(self) -> None:
        """Let go of the connection: kept when the body has arrived whole, else closed at once."""
        self._let_go()

    async def _next(self, timeout_s: float) -> bytes:
        connection = self._connection
        if connection is None:
            return b""
        try:
            piece = await connection.take(timeout_s)
        except BaseException:
            self._let_go()
            raise
        if connection.complete:  # nothing is left to read: others may have it now
            self._let_go()
        return piece

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.reusable:
            self._release(connection)
        else:
            connection.abort()


class _Chunks:
    __slots__ = ("_response", "_timeout_s")

    def __init__(self, response: Response, timeout_s: float) -> None:
        self._response = response
        self._timeout_s = timeout_s

    def __aiter__(self) -> "_Chunks":
        return self

    async def __anext__(self) -> bytes:
        # Response._next, without a coroutine of its own.
        response = self._response
        connection = response._connection
        if connection is None:
            raise StopAsyncIteration
        try:
            piece = await connection.take(self._timeout_s)
        except BaseException:
            response._let_go()
            raise
        if connection.complete:
            response._let_go()
        if not piece:
            raise StopAsyncIteration
        return piece
