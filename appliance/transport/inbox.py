"""Frames of a WebSocket that wait for their turn; used by responses_socket.py."""

import asyncio
from collections import deque


class Inbox:
    """First in, first out; no more than `most` of them and `most_chars` together."""

    def __init__(self, most: int, most_chars: int) -> None:
        self._most = most
        self._most_chars = most_chars
        self._waiting: deque[str] = deque()
        self._chars = 0
        self._closed = False
        self._news = asyncio.Event()

    def offer(self, frame: str) -> bool:
        """False where there is no room; one frame alone always has some."""
        full = len(self._waiting) >= self._most or self._chars + len(frame) > self._most_chars
        if self._waiting and full:
            return False
        self._waiting.append(frame)
        self._chars += len(frame)
        self._news.set()
        return True

    async def take(self) -> str | None:
        """The next one, as soon as there is one; None once it is closed, whatever waits."""
        while not (self._waiting or self._closed):
            self._news.clear()
            await self._news.wait()
        if self._closed:
            return None
        frame = self._waiting.popleft()
        self._chars -= len(frame)
        return frame

    def close(self) -> None:
        """Nothing more is taken."""
        self._closed = True
        self._news.set()
