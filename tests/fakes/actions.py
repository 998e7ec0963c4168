"""What a scripted server does to one request, step by step.

A behaviour is a function from the received request to a list of actions; `answers.py` has the usual
ones.  These helpers change any of them:

    before_headers(Stall(), chat())              accepts the request and never answers
    before_headers(Pause(0.5), chat())           answers half a second late
    after_chunks(0, Stall(), chat())             headers, then nothing
    after_chunks(3, Cut(), chat())               three events, then the connection closes: no [DONE]
    after_chunks(3, Reset(), chat())             the same with RST
    after_chunks(3, Gate(opened), chat())        three events; the rest once the test sets `opened`
    split(chat("naïve"), every=1)                each byte in a segment of its own
    paced(chat(), 0.005)                         5 ms before each event
    alone(Cut())                                 closed before the first byte of an answer
    then(chat(), Cut())                          a whole answer, then the kept connection closes
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass
class Received:
    """One request as it arrived, and what became of it; times are `time.monotonic()`."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    json: Any  # None when the body is not JSON
    at: float
    connection: int  # 1 for the first connection the server accepted
    reused: int  # requests this connection had carried before
    finished_at: float | None = None  # when the last action was done
    hung_up_at: float | None = None  # when the client left before that

    @property
    def stream(self) -> bool:
        return isinstance(self.json, dict) and self.json.get("stream") is True

    @property
    def model(self) -> str:
        return str(self.json.get("model", "")) if isinstance(self.json, dict) else ""


@dataclass(frozen=True)
class Head:
    """Status line and headers; `chunked` frames every Body that follows."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    chunked: bool = False


@dataclass(frozen=True)
class Body:
    """Bytes of the body; `event`: counts as a chunk of the stream for `after_chunks`."""

    data: bytes
    event: bool = False


@dataclass(frozen=True)
class Raw:
    """Bytes on the wire as they are, HTTP or not."""

    data: bytes


@dataclass(frozen=True)
class Pause:
    """Wait `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Stall:
    """Wait until the client hangs up."""


@dataclass(frozen=True)
class Gate:
    """Wait until the test sets `opened`."""

    opened: threading.Event


@dataclass(frozen=True)
class End:
    """The end of a chunked body; nothing otherwise."""


@dataclass(frozen=True)
class Cut:
    """Close the connection (FIN)."""


@dataclass(frozen=True)
class Reset:
    """Close the connection (RST)."""


Action = Head | Body | Raw | Pause | Stall | Gate | End | Cut | Reset
Behaviour = Callable[[Received], list[Action]]


def alone(*actions: Action) -> Behaviour:
    """Exactly these, whatever was asked."""
    return lambda _: list(actions)


def before_headers(action: Action, behaviour: Behaviour) -> Behaviour:
    """`action` first, then the rest."""
    return lambda received: [action, *behaviour(received)]


def then(behaviour: Behaviour, *actions: Action) -> Behaviour:
    """`actions` last: `then(chat(), Cut())` closes the connection it just promised to keep."""
    return lambda received: [*behaviour(received), *actions]


def after_chunks(count: int, action: Action, behaviour: Behaviour) -> Behaviour:
    """`action` after `count` events of a stream (of another body, which is one, too)."""

    def act(received: Received) -> list[Action]:
        actions = behaviour(received)
        seen = 0
        for index, step in enumerate(actions):
            is_head = count == 0 and isinstance(step, Head)
            seen += isinstance(step, Body)
            if is_head or (isinstance(step, Body) and seen == count):
                return [*actions[: index + 1], action, *actions[index + 1 :]]
        return [*actions, action]

    return act


def paced(behaviour: Behaviour, seconds: float) -> Behaviour:
    """`seconds` before each event of the stream."""

    def act(received: Received) -> list[Action]:
        actions: list[Action] = []
        for step in behaviour(received):
            if isinstance(step, Body) and step.event:
                actions.append(Pause(seconds))
            actions.append(step)
        return actions

    return act


def split(
    behaviour: Behaviour, *, every: int = 0, at: Sequence[int] = (), pause_s: float = 0.0005
) -> Behaviour:
    """Cut the body's bytes anew, events or not: `every` so many, or `at` these offsets.

    Each piece leaves in a chunk and a segment of its own, `pause_s` apart (without a pause the
    kernel joins them); pauses and other actions within the body are dropped.
    """

    def act(received: Received) -> list[Action]:
        actions = behaviour(received)
        whole = b"".join(step.data for step in actions if isinstance(step, Body))
        cuts = sorted({0, *(range(0, len(whole), every) if every else at), len(whole)})
        pieces: list[Action] = []
        for begin, end in zip(cuts, cuts[1:]):  # noqa: B905, RUF007
            pieces += [Body(whole[begin:end]), Pause(pause_s)]
        bodies = [index for index, step in enumerate(actions) if isinstance(step, Body)]
        if not bodies:
            return actions
        return [*actions[: bodies[0]], *pieces, *actions[bodies[-1] + 1 :]]

    return act


def with_head(behaviour: Behaviour, **headers: str) -> Behaviour:
    """Replace or add response headers; underscores in the names stand for hyphens."""
    changed = {name.replace("_", "-").lower(): value for name, value in headers.items()}

    def act(received: Received) -> list[Action]:
        actions = behaviour(received)
        for index, step in enumerate(actions):
            if isinstance(step, Head):
                kept = tuple(pair for pair in step.headers if pair[0].lower() not in changed)
                actions[index] = replace(step, headers=(*kept, *changed.items()))
        return actions

    return act
