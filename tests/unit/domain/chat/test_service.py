"""One exchange against backends in memory: what is tried, told and recorded."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from appliance.config.schema import KnowledgeConfig
from appliance.domain.access.keys import Key
from appliance.domain.chat.attempts import RetryPolicy
from appliance.domain.chat.knowledge import Augmenter
from appliance.domain.chat.service import ChatLimits, ChatService, Clock
from appliance.domain.chat.slots import SlotLimits, Slots
from appliance.domain.chat.turn import Caller, Turn
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.request import ChatRequest, Extensions
from appliance.domain.conversation.stream import Delta
from appliance.domain.conversation.usage import Usage
from appliance.domain.errors import (
    BackendBusy,
    BackendProtocolError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    PartUnavailable,
    PermissionDenied,
)
from appliance.domain.identity import Identity
from appliance.domain.knowledge.retrieve import Retriever
from appliance.domain.routing.candidate import ModelRow
from appliance.domain.routing.directory import ModelDirectory
from appliance.domain.routing.router import Router
from appliance.domain.vectorstore.ports import NewChunk
from tests.fakes.chat_backend import FakeBackend, KeptExchanges, Step, said
from tests.fakes.embedder import WordEmbedder
from tests.fakes.store import MemoryStore

FACT = "the gateway does use port 8080"
CUT = BackendProtocolError("cut", backend="local")
GONE = BackendUnavailable("gone", backend="local")
STATUS = {type(None): 499, BackendTimeout: 504, ModelNotFound: 404, BackendBusy: 429}


PATIENT = ChatLimits(5.0, 10.0)
ROOMY = SlotLimits(4, 4, 1.0)


class Served:
    """A chat service over `backends`; the row `m` names the first, the others are its fallbacks."""

    def __init__(
        self,
        *backends: FakeBackend,
        limits: ChatLimits = PATIENT,
        slots: SlotLimits = ROOMY,
        route: str = "",
        workspace: str = "",
        key: Key | None = None,
        sinks: Sequence[KeptExchanges] = (),
    ) -> None:
        named = {b.name: b for b in backends}
        self._key = key
        self.store, self.embedder = MemoryStore(), WordEmbedder()
        self.sinks = tuple(sinks) or (KeptExchanges(),)
        self.slots = {name: Slots(name, slots) for name in named}
        first, *rest = named
        row = ModelRow("m", first, fallback=tuple(rest), route=route, workspace=workspace)
        directory = ModelDirectory(named, ttl_s=60, clock=time.monotonic)
        retriever = Retriever(self.embedder, self.store, KnowledgeConfig())
        self.service = ChatService(
            Router([row], list(named), directory, default_backend=first),
            named,
            self.slots,
            Augmenter(retriever, workspace="default"),
            self.sinks,
            retry=RetryPolicy(1, 0.001),
            limits=limits,
            clock=Clock(time.time, time.monotonic),
            host="desk",
            status_of=lambda error: STATUS.get(type(error), 502),
        )

    async def knows(self, text: str, workspace: str = "default") -> None:
        vectors = (await WordEmbedder().embed([text])).vectors
        await self.store.replace(
            "ports.md", workspace=workspace, digest="d", size_bytes=1, model="words",
            chunks=[NewChunk(0, text, vectors[0])],
        )  # fmt: skip

    def turn(
        self, text: str = "hello", *, model: str = "m", stream: bool = True, **extensions: str
    ) -> Turn:
        message = Message("user", text, {"role": "user", "content": text})
        request = ChatRequest(model, (message,), stream, extensions=Extensions(**extensions))
        caller = Caller(Identity("t" * 32, "thread"), "openai_chat", self._key)
        return self.service.turn(request, caller)

    async def stream(self, turn: Turn) -> list[Delta]:
        async with aclosing(self.service.stream(turn)) as deltas:
            return [delta async for delta in deltas]

    async def ask(self, shape: str, turn: Turn) -> Any:
        return await (self.service.once(turn) if shape == "once" else self.stream(turn))

    @property
    def record(self) -> Any:
        """The one record of the one exchange; nothing is held any more."""
        assert [s.in_flight for s in self.slots.values()] == [0] * len(self.slots)
        (kept,) = self.sinks[0].kept
        return kept


SHAPES = pytest.mark.parametrize("shape", ["once", "stream"])


def backend(*plays: Sequence[Step], name: str = "local") -> FakeBackend:
    return FakeBackend(name, plays)


def texts(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


async def test_a_finished_stream_is_recorded_once_with_all_it_said() -> None:
    served = Served(backend(said("Hel", "lo")))
    deltas = await served.stream(served.turn())
    assert texts(deltas) == "Hello"
    record = served.record
    assert (record.status, record.http_status, record.answer) == ("finished", 200, "Hello")
    assert (record.input_tokens, record.output_tokens, record.finish_reason) == (7, 2, "stop")
    assert (record.backend, record.provider, record.selected_model) == ("local", "openai_chat", "m")
    assert [a.outcome for a in record.attempts] == ["ok"]


async def test_a_whole_answer_is_recorded_before_it_is_returned() -> None:
    served = Served(backend(said("Hello")))
    answer = await served.service.once(served.turn())
    assert answer.text == "Hello"
    assert (served.record.status, served.record.answer) == ("finished", "Hello")


async def test_a_stream_is_recorded_before_its_end_is_told() -> None:
    served = Served(backend(said("a", "b")))
    async with aclosing(served.service.stream(served.turn())) as deltas:
        async for delta in deltas:
            assert served.sinks[0].kept == [], delta
        assert len(served.sinks[0].kept) == 1


@SHAPES
@pytest.mark.parametrize(
    ("error", "http_status"),
    [
        (CUT, 502),
        (BackendRefused("no", backend="local", status=400), 502),
        (ContextLengthExceeded("long"), 502),
        (BackendTimeout("slow", backend="local"), 504),
        (RuntimeError("a bug"), 502),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_failure_is_raised_and_recorded_once(
    shape: str, error: Exception, http_status: int
) -> None:
    served = Served(backend([error]))
    with pytest.raises(type(error)):
        await served.ask(shape, served.turn())
    assert (served.record.status, served.record.http_status) == ("failed", http_status)
    assert served.record.error_type == type(error).__name__
    assert len(served.record.attempts) == (0 if isinstance(error, RuntimeError) else 1)


@SHAPES
async def test_an_unknown_model_is_recorded_as_failed(shape: str) -> None:
    served = Served(backend(said("x")))
    with pytest.raises(ModelNotFound):
        await served.ask(shape, served.turn(model="nope"))
    assert (served.record.status, served.record.http_status) == ("failed", 404)
    assert (served.record.request_model, served.record.selected_model) == ("nope", "")


@SHAPES
async def test_a_cancelled_exchange_aborts_its_backend_and_is_recorded_as_such(shape: str) -> None:
    local = backend([Delta(text="a"), 60.0, *said("b")])
    served = Served(local)
    asking = asyncio.ensure_future(served.ask(shape, served.turn()))
    await asyncio.sleep(0.02)
    assert local.open == 1
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (local.open, local.aborted) == (0, 1)
    assert (served.record.status, served.record.http_status) == ("cancelled", 499)
    assert served.record.error_type == ""


async def test_a_stream_its_reader_closes_is_cancelled_with_what_was_said() -> None:
    local = backend(said("one", "two", "three"))
    served = Served(local)
    deltas = served.service.stream(served.turn())
    assert (await anext(deltas)).text == "one"
    await deltas.aclose()
    assert (local.open, local.aborted) == (0, 1)
    assert (served.record.status, served.record.answer) == ("cancelled", "one")


async def test_a_stream_closed_past_its_limit_has_failed_and_says_which_limit() -> None:
    served = Served(backend(said("one", "two")))
    turn = served.turn()
    turn.committed = True
    deltas = served.service.stream(turn)
    await anext(deltas)
    turn.expires_at = time.monotonic() - 1
    await deltas.aclose()
    assert (served.record.status, served.record.http_status) == ("failed", 200)
    assert served.record.error_type == "BackendTimeout"
    assert "not finished within 10 s" in served.record.error_message


async def test_what_its_caller_gave_up_on_is_recorded_as_failed_once() -> None:
    served = Served(backend(said("one", "two")))
    turn = served.turn()
    deltas = served.service.stream(turn)
    await anext(deltas)
    served.service.fail(turn, served.service.expired(turn))
    await deltas.aclose()
    assert (served.record.status, served.record.http_status) == ("failed", 504)


async def test_a_whole_answer_that_takes_too_long_is_a_timeout() -> None:
    local = backend([60.0])
    served = Served(local, limits=ChatLimits(0.01, 0.05))
    with pytest.raises(BackendTimeout, match=r"came within 0\.05 s \(backend local\)"):
        await served.service.once(served.turn(stream=False))
    assert (local.open, local.aborted) == (0, 1)
    assert (served.record.status, served.record.http_status) == ("failed", 504)


@pytest.mark.parametrize(("first_s", "total_s", "told"), [(0.5, 9.0, "0.5 s"), (9.0, 0.5, "0.5 s")])
def test_a_stream_without_content_names_the_limit_it_ran_into(
    first_s: float, total_s: float, told: str
) -> None:
    served = Served(backend(said("x")), limits=ChatLimits(first_s, total_s))
    assert f"no answer began within {told}" in str(served.service.expired(served.turn()))


async def test_frames_before_content_are_held_so_that_a_fallback_opens_the_stream() -> None:
    opening = Delta(model="wrong", source={"id": "first"})
    first = backend([opening, opening, CUT])
    spare = backend([Delta(source={"id": "second"}), *said("from the spare")], name="spare")
    served = Served(first, spare)
    deltas = await served.stream(served.turn())
    assert texts(deltas) == "from the spare"
    assert all(d.has_content for d in deltas[:1])
    assert {"id": "first"} not in [d.source for d in deltas]
    assert (served.record.backend, served.record.response_model) == ("spare", "m-upstream")
    assert [(a.backend, a.outcome) for a in served.record.attempts] == [
        ("local", "BackendProtocolError"),
        ("spare", "ok"),
    ]


async def test_frames_after_content_pass_as_they_come() -> None:
    usage = Delta(usage=Usage(1, 1))
    served = Served(
        backend([Delta(), Delta(text="a"), Delta(), Delta(finish_reason="stop"), usage])
    )
    deltas = await served.stream(served.turn())
    assert [bool(d.text) for d in deltas] == [True, False, False, False]
    assert deltas[-1] is usage


@pytest.mark.parametrize("error", [CUT, GONE, BackendRefused("no", backend="local", status=503)])
async def test_an_error_after_content_is_not_tried_again(error: Exception) -> None:
    first, spare = backend([Delta(text="half"), error]), backend(said("x"), name="spare")
    served = Served(first, spare)
    async with aclosing(served.service.stream(served.turn())) as deltas:
        seen = [await anext(deltas)]
        with pytest.raises(type(error)):
            await anext(deltas)
    assert (texts(seen), len(first.asked), len(spare.asked)) == ("half", 1, 0)
    assert (served.record.status, served.record.answer) == ("failed", "half")


@SHAPES
async def test_a_passing_failure_is_retried_and_shows_in_the_record(shape: str) -> None:
    local = backend([GONE], said("fine"))
    served = Served(local)
    await served.ask(shape, served.turn())
    assert len(local.asked) == 2
    assert (served.record.status, served.record.answer) == ("finished", "fine")
    assert [a.outcome for a in served.record.attempts] == ["BackendUnavailable", "ok"]


@SHAPES
async def test_a_prompt_that_is_too_long_is_not_handed_on(shape: str) -> None:
    spare = backend(said("x"), name="spare")
    served = Served(backend([ContextLengthExceeded("long")]), spare)
    with pytest.raises(ContextLengthExceeded):
        await served.ask(shape, served.turn())
    assert spare.asked == []
    assert [a.outcome for a in served.record.attempts] == ["ContextLengthExceeded"]


@SHAPES
async def test_a_full_backend_hands_over_and_a_lonely_one_is_busy(shape: str) -> None:
    full = SlotLimits(1, 0, 1.0)
    spare = backend(said("spare"), name="spare")
    served = Served(backend(said("x")), spare, slots=full)
    async with served.slots["local"].slot():
        await served.ask(shape, served.turn())
    assert served.record.backend == "spare"
    lonely = Served(backend(said("x")), slots=full)
    async with lonely.slots["local"].slot():
        with pytest.raises(BackendBusy):
            await lonely.ask(shape, lonely.turn())
    assert (lonely.record.status, lonely.record.http_status) == ("failed", 429)


async def test_a_slot_is_held_for_as_long_as_the_stream_runs() -> None:
    served = Served(backend(said("a", "b")))
    async with aclosing(served.service.stream(served.turn())) as deltas:
        await anext(deltas)
        assert served.slots["local"].in_flight == 1
    assert served.slots["local"].in_flight == 0


@SHAPES
async def test_a_pause_before_a_retry_holds_no_slot(shape: str) -> None:
    local = backend([GONE], said("fine"))
    served = Served(local, slots=SlotLimits(1, 0, 1.0))
    await served.ask(shape, served.turn())
    assert served.record.status == "finished"


@SHAPES
@pytest.mark.parametrize(
    ("route", "error"), [("elsewhere", InvalidRequest), ("workflow", PartUnavailable)]
)
async def test_a_route_we_do_not_serve_is_refused_and_recorded(
    shape: str, route: str, error: type[Exception]
) -> None:
    local = backend(said("x"))
    served = Served(local)
    with pytest.raises(error, match=route):
        await served.ask(shape, served.turn(route=route))
    assert local.asked == []
    assert (served.record.status, served.record.route) == ("failed", route)


@SHAPES
async def test_a_sink_that_cannot_keep_it_changes_nothing_for_the_caller(shape: str) -> None:
    full, counting = KeptExchanges(answer=False), KeptExchanges()
    served = Served(backend(said("fine")), sinks=[full, counting])
    await served.ask(shape, served.turn())
    assert (len(full.kept), len(counting.kept)) == (1, 1)
    assert full.kept[0] is counting.kept[0]


def contents(asked: ChatRequest) -> list[str]:
    return [m.text for m in asked.messages]


@SHAPES
async def test_rag_gives_the_backend_what_was_found_and_the_record_the_clients_words(
    shape: str,
) -> None:
    local = backend(said("8080"))
    served = Served(local)
    await served.knows(FACT)
    turn = served.turn("which port does the gateway use", route="rag")
    await served.ask(shape, turn)
    assert any(FACT in text for text in contents(local.asked[0][1]))
    assert served.record.messages == (
        {"role": "user", "content": "which port does the gateway use"},
    )
    assert [h.document for h in served.record.retrieval.hits] == ["ports.md"]
    assert (served.record.route, turn.transparent) == ("rag", False)


async def test_a_models_own_route_is_transparent_and_direct_switches_it_off() -> None:
    served = Served(backend(said("x")), route="rag")
    turn = served.turn()
    await served.stream(turn)
    assert (turn.transparent, served.record.route) == (True, "rag")
    served = Served(backend(said("x")), route="rag")
    turn = served.turn(route="direct")
    await served.stream(turn)
    assert (turn.retrieval, served.record.route, served.embedder.texts) == (None, "direct", [])


@SHAPES
async def test_rag_without_its_parts_answers_anyway_and_says_which_is_down(shape: str) -> None:
    local = backend(said("fine"))
    served = Served(local)
    served.embedder.down = True
    await served.ask(shape, served.turn("which port", route="rag"))
    assert contents(local.asked[0][1]) == ["which port"]
    assert served.record.retrieval.degraded == "inference"


TEAM = Key("team-key", "", ("team",))


@SHAPES
@pytest.mark.parametrize(
    ("row", "asked", "allowed"),
    [("", "", False), ("secret", "", False), ("team", "", True), ("secret", "team", True)],
    ids=["the configured one", "its model's", "its own by its model", "its own by name"],
)
async def test_a_key_reads_no_workspace_but_its_own_whoever_names_it(
    shape: str, row: str, asked: str, allowed: bool
) -> None:
    local = backend(said("fine"))
    served = Served(local, route="rag", workspace=row, key=TEAM)
    if allowed:
        await served.ask(shape, served.turn(workspace=asked))
        assert served.record.retrieval.workspace == "team"
    else:
        with pytest.raises(PermissionDenied):
            await served.ask(shape, served.turn(workspace=asked))
        assert (local.asked, served.embedder.texts) == ([], [])
        assert (served.record.status, served.record.key_name) == ("failed", "team-key")


@SHAPES
async def test_a_key_for_one_workspace_may_chat_where_nothing_is_read(shape: str) -> None:
    served = Served(backend(said("fine")), workspace="secret", key=TEAM)
    await served.ask(shape, served.turn())
    assert served.record.status == "finished"


async def test_many_exchanges_at_once_are_recorded_once_each_and_leave_nothing_open() -> None:
    plays: Mapping[str, Sequence[Step]] = {
        "good": said("a", "b"),
        "cut": [Delta(text="a"), CUT],
        "late": [0.01, *said("c")],
    }
    local = FakeBackend("local", [*plays.values()] * 20)
    served = Served(local, slots=SlotLimits(3, 100, 5.0))
    tasks = [asyncio.ensure_future(served.stream(served.turn())) for _ in range(60)]
    await asyncio.sleep(0.003)
    for task in tasks[::7]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(served.sinks[0].kept) == len(tasks)
    assert {kept.status for kept in served.sinks[0].kept} == {"finished", "failed", "cancelled"}
    assert (local.open, served.slots["local"].in_flight, served.slots["local"].queued) == (0, 0, 0)
