"""A plain WebSocket client of /v1/responses."""

import json
from types import TracebackType
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

TERMINAL = ("response.completed", "response.incomplete", "response.failed", "error")
PATH = "/v1/responses"
Event = dict[str, Any]


def create(text: str = "Hello?", **fields: Any) -> Event:
    """A frame that asks a question of the model `scripted`, and has nothing stored."""
    asked = {"type": "response.create", "model": "scripted", "input": text, "store": False}
    return {**asked, **fields}


class SocketClient:
    """`url` is a gateway's base."""

    def __init__(self, url: str, path: str = "", **headers: str) -> None:
        self._connect = connect(
            url.replace("http", "ws", 1) + (path or PATH),
            additional_headers=headers,
            compression=None,
            max_size=None,
        )
        self.line: ClientConnection

    def __enter__(self) -> "SocketClient":
        self.line = self._connect.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connect.__exit__(kind, exc, trace)

    def send(self, frame: Event | str | bytes) -> None:
        """One frame; a dict as JSON."""
        self.line.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    def receive(self) -> Event:
        """The next frame."""
        event: Event = json.loads(self.line.recv(timeout=60))
        return event

    def turn(self) -> list[Event]:
        """The frames up to one that ends a turn."""
        events = [self.receive()]
        while events[-1]["type"] not in TERMINAL:
            events.append(self.receive())
        return events

    def until_closed(self) -> tuple[list[Event], int, str]:
        """The frames that still come, and the code and reason it is closed with (1006: cut)."""
        events = []
        try:
            while True:
                events.append(self.receive())
        except ConnectionClosed as exc:
            told = exc.rcvd
            return events, told.code if told else 1006, told.reason if told else ""

    def ask(self, text: str = "Hello?", **fields: Any) -> Event:
        """Send `create(text, **fields)`; the frame that ends its turn."""
        self.send(create(text, **fields))
        return self.turn()[-1]


def text_of(event: Event) -> str:
    """What a response says, of its last frame."""
    return "".join(
        part["text"]
        for item in event["response"]["output"]
        if item["type"] == "message"
        for part in item["content"]
    )
