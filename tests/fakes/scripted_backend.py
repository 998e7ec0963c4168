"""An OpenAI-compatible server that stalls, splits, drops and lies as told.

    with ScriptedBackend(models=["small"]) as backend:         # a thread and a loop of its own
        backend.queue(rate_limited(), after_chunks(3, Stall(), chat()))  # the next two POSTs
        backend.script("small", chat("fine", usage="none"))    # then by model; the last repeats
        backend.on_path("GET /props", reply_json(200, {...}))  # anything else
        ...                                                    # ask at backend.base_url
        request = backend.wait_request(2)                      # await_request in a coroutine
        left = backend.wait_hang_up()                          # await_hang_up in a coroutine
        assert left.hung_up_at - request.at < 1

Unscripted it behaves: chat once and streamed, embeddings, the list of models, each in OpenAI's wire
and in Ollama's native one (at `url`); 404 for the rest.
Behaviours are in `answers.py`, and what bends them in `actions.py`.  A request is recorded when it
has arrived whole; a client that leaves before the last action is done has hung up.  A stream is
written as fast as the socket takes it: to be hung up on, it needs `paced`, Pause or Stall.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from tests.fakes import answers, anthropic_answers, ollama_answers
from tests.fakes.actions import Action, Behaviour, Received
from tests.fakes.line import Line, perform
from tests.fakes.ports import free_port
from tests.fakes.until import WAIT_S


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections and that nobody else is given meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class ScriptedBackend:
    """The server; `requests` holds the POSTs in order of arrival, `probes` everything else (and
    /api/show)."""

    def __init__(
        self, *, models: Sequence[str] = ("scripted",), tls: ssl.SSLContext | None = None
    ) -> None:
        self.models = list(models)  # may be changed while it runs
        self.requests: list[Received] = []
        self.probes: list[Received] = []
        self.connections = 0  # accepted so far
        self.port = 0
        self._tls = tls
        self._queue: deque[Behaviour] = deque()
        self._by_model: dict[str, deque[Behaviour]] = {}
        self._by_path: dict[str, deque[Behaviour]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    # -- life

    def __enter__(self) -> "ScriptedBackend":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen on 127.0.0.1; after a `stop`, on the same port again."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Close the listener and every connection; from then on the port refuses."""
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join()
        self._loop = self._thread = None

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What goes into `[[backends]]`: `url` and `/v1`."""
        return f"{self.url}/v1"

    # -- the script

    def queue(self, *behaviours: Behaviour) -> None:
        """For the next POSTs, one each, whatever their model and before any other script."""
        self._queue.extend(behaviours)

    def script(self, model: str, *behaviours: Behaviour) -> None:
        """For POSTs with this model, in order; the last one repeats."""
        self._by_model[model] = deque(behaviours)

    def on_path(self, route: str, *behaviours: Behaviour) -> None:
        """For `"METHOD /path"` (without query), before the queue, in order; the last repeats."""
        self._by_path[route] = deque(behaviours)

    def forget(self) -> None:
        """Drop what is queued for the next POSTs and what was recorded."""
        self._queue.clear()
        self.requests.clear()

    # -- what happened

    def wait_request(self, n: int = 1, timeout_s: float = WAIT_S) -> Received:
        """The n-th POST, counted from 1; AssertionError when it does not come in time."""
        return _poll(lambda: self.requests[n - 1 : n], f"request {n}", timeout_s)

    async def await_request(self, n: int = 1, timeout_s: float = WAIT_S) -> Received:
        """As `wait_request`, without blocking the loop."""
        return await _apoll(lambda: self.requests[n - 1 : n], f"request {n}", timeout_s)

    def wait_hang_up(self, n: int = 1, timeout_s: float = WAIT_S) -> Received:
        """The n-th POST whose client hung up on it; AssertionError when none does in time."""
        return _poll(lambda: self._hung_up()[n - 1 : n], f"hang-up {n}", timeout_s)

    async def await_hang_up(self, n: int = 1, timeout_s: float = WAIT_S) -> Received:
        """As `wait_hang_up`, without blocking the loop."""
        return await _apoll(lambda: self._hung_up()[n - 1 : n], f"hang-up {n}", timeout_s)

    def _hung_up(self) -> list[Received]:
        left = [request for request in self.requests if request.hung_up_at is not None]
        return sorted(left, key=lambda request: request.hung_up_at or 0.0)

    # -- the server's thread

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as exc:  # noqa: BLE001 - start() raises it in the test
            self._failure = exc
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        talks: dict[asyncio.Task[None], Line] = {}

        def accept() -> Line:
            self.connections += 1
            line = Line(self.connections)
            talk = asyncio.ensure_future(self._converse(line))
            talks[talk] = line
            talk.add_done_callback(talks.pop)
            return line

        self.port = self.port or free_port()
        server = await self._loop.create_server(accept, "127.0.0.1", self.port, ssl=self._tls)
        ready.set()
        await self._stopping.wait()
        server.close()
        for talk, line in tuple(talks.items()):
            line.abort()
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)

    async def _converse(self, line: Line) -> None:
        try:
            while (received := await line.request()) is not None:
                (self.probes if _is_probe(received) else self.requests).append(received)
                if not await perform(line, received, self._actions(received)):
                    break
        finally:
            line.close()

    def _actions(self, received: Received) -> list[Action]:
        try:
            return self._choose(received)(received)
        except Exception:  # noqa: BLE001 - a broken script must show in the test, not hang it
            return answers.reply(500, traceback.format_exc().encode(), "text/plain")(received)

    def _choose(self, received: Received) -> Behaviour:
        path = received.path.partition("?")[0]
        if scripted := self._by_path.get(f"{received.method} {path}"):
            return _next(scripted)
        if path == "/api/show":
            return ollama_answers.show()
        if received.method == "POST":
            if self._queue:
                return self._queue.popleft()
            if scripted := self._by_model.get(received.model):
                return _next(scripted)
            if path.endswith("/chat/completions"):
                return answers.chat()
            if path.endswith("/completions"):
                return answers.completion()
            if path.endswith("/embeddings"):
                return answers.embeddings()
            if path.endswith("/messages"):
                return anthropic_answers.messages()
            if path.endswith("/messages/count_tokens"):
                return anthropic_answers.counted()
            if path in ("/api/chat", "/api/generate"):
                return ollama_answers.ollama_chat()
            if path == "/api/embed":
                return ollama_answers.ollama_embeddings()
        elif path.endswith("/models") and "anthropic-version" in received.headers:
            return anthropic_answers.models(self.models)
        elif path.endswith("/models"):
            return answers.models(self.models)
        elif path == "/api/tags":
            return ollama_answers.tags(self.models)
        return answers.openai_error(404, f"no route {path}", "not_found_error")


def _is_probe(received: Received) -> bool:
    # Ollama is asked about a model by POST; that is no request to it.
    return received.method != "POST" or received.path == "/api/show"


def _next(behaviours: deque[Behaviour]) -> Behaviour:
    return behaviours.popleft() if len(behaviours) > 1 else behaviours[0]


def _poll(found: Callable[[], list[Received]], what: str, timeout_s: float) -> Received:
    end = time.monotonic() + timeout_s
    while not (rows := found()):
        assert time.monotonic() < end, f"no {what} within {timeout_s} s"
        time.sleep(0.001)
    return rows[0]


async def _apoll(found: Callable[[], list[Received]], what: str, timeout_s: float) -> Received:
    end = time.monotonic() + timeout_s
    while not (rows := found()):
        assert time.monotonic() < end, f"no {what} within {timeout_s} s"
        await asyncio.sleep(0.001)
    return rows[0]
