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
from appliance.domain.chat.ports import Media
from appliance.domain.chat.service import ChatLimits, ChatService, Clock
from appliance.domain.chat.slots import SlotLimits, Slots
from appliance.domain.chat.turn import Caller, Turn
from appliance.domain.conversation.collect import Collector
from appliance.domain.conversation.message import Message
from appliance.domain.conversation.options import Options, Tool
from appliance.domain.conversation.parts import Reasoning, Text
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
from appliance.domain.events.ledger import Ledger
from appliance.domain.identity import Identity
from appliance.domain.knowledge.retrieve import Retriever
from appliance.domain.routing.candidate import ModelRow
from appliance.domain.routing.directory import ModelDirectory
from appliance.domain.routing.health import EjectionPolicy, Health
from appliance.domain.routing.router import Router
from appliance.domain.sealing import Seal
from appliance.domain.vectorstore.ports import NewChunk
from tests.fakes.chat_backend import FakeBackend, KeptExchanges, Step, said
from tests.fakes.embedder import WordEmbedder
from tests.fakes.store import MemoryStore

FACT = "the gateway does use port 8080"
CUT = BackendProtocolError("cut", backend="local")
GONE = BackendUnavailable("gone", backend="local")
STATUS = {type(None): 499, BackendTimeout: 504, ModelNotFound: 404, BackendBusy: 429}


class NoFetcher:
    """A MediaFetcher for requests that name no URL."""

    async def fetch(self, url: str) -> Media:
        raise AssertionError(f"nobody asked for {url}")


EXTENSIONS = ("route", "workspace", "project", "conversation")
SEAL = Seal(b"a secret of the tests")
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
        parsers: frozenset[str] | None = None,
        sinks: Sequence[KeptExchanges] = (),
    ) -> None:
        named = {b.name: b for b in backends}
        self.backends = backends
        self._key = key
        self._ahead_s = 0.0
        self.health = Health(
            named, EjectionPolicy(), clock=lambda: time.monotonic() + self._ahead_s
        )
        self.store, self.embedder = MemoryStore(), WordEmbedder()
        self.sinks = tuple(sinks) or (KeptExchanges(),)
        self.slots = {name: Slots(name, slots) for name in named}
        first, *rest = named
        row = ModelRow(
            "m",
            first,
            fallback=tuple(rest),
            route=route,
            workspace=workspace,
            parsers=parsers,
        )
        directory = ModelDirectory(named, ttl_s=60, clock=time.monotonic)
        retriever = Retriever(self.embedder, self.store, KnowledgeConfig())
        self.service = ChatService(
            Router([row], list(named), directory, default_backend=first),
            named,
            self.slots,
            Augmenter(retriever, workspace="default"),
            Ledger(self.sinks),
            retry=RetryPolicy(1, 0.001),
            limits=limits,
            clock=Clock(time.time, time.monotonic),
            host="desk",
            status_of=lambda error: STATUS.get(type(error), 502),
            health=self.health,
            fetcher=NoFetcher(),
            seal=SEAL,
        )

    def later(self, seconds: float) -> None:
        """Let this time pass for the health of backends."""
        self._ahead_s += seconds

    async def knows(self, text: str, workspace: str = "default") -> None:
        vectors = (await WordEmbedder().embed([text])).vectors
        await self.store.replace(
            "ports.md", workspace=workspace, digest="d", size_bytes=1, model="words",
            chunks=[NewChunk(0, text, vectors[0])],
        )  # fmt: skip

    def turn(
        self, text: str = "hello", *, model: str = "m", stream: bool = True, **fields: Any
    ) -> Turn:
        message = Message("user", (Text(text),), {"role": "user", "content": text})
        extensions = {k: fields.pop(k) for k in EXTENSIONS if k in fields}
        request = ChatRequest(
            model, (message,), stream, extensions=Extensions(**extensions), **fields
        )
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
    assert answer.first.text == "Hello"
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
    (tried,) = served.record.attempts
    assert tried.outcome.partition(" ")[0] == type(error).__name__


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
    while not local.open:
        await asyncio.sleep(0.001)
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
    assert [(await anext(deltas)).text, (await anext(deltas)).text] == ["", "one"]
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
    assert [d.source for d in deltas if d.source] == [{"id": "second"}]
    assert (served.record.backend, served.record.response_model) == ("spare", "m-upstream")
    assert [(a.backend, a.outcome) for a in served.record.attempts] == [
        ("local", "BackendProtocolError"),
        ("spare", "ok"),
    ]


async def test_every_frame_passes_in_its_order_once_there_is_content() -> None:
    usage = Delta(usage=Usage(1, 1))
    served = Served(
        backend([Delta(), Delta(text="a"), Delta(), Delta(finish_reason="stop"), usage])
    )
    deltas = await served.stream(served.turn())
    assert [bool(d.text) for d in deltas] == [False, True, False, False, False]
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


# -- what the answering backend is sent, and how its answer is read


PARAMS = {"logit_bias": {}, "max_tokens": 5}
NAMES = {"max_tokens": "max_output_tokens"}


@SHAPES
async def test_fields_that_the_answering_backend_was_not_sent_are_named(shape: str) -> None:
    local = backend(said("x"))
    other = FakeBackend("other", [[GONE]], dialect="anthropic_messages")
    served = Served(other, local)
    turn = served.turn(stream=shape == "stream", params=PARAMS, option_names=NAMES)
    await served.ask(shape, turn)
    assert turn.dropped == ()  # the fallback speaks the client's own dialect
    other = FakeBackend("other", [said("x")], dialect="ollama", carries=frozenset(NAMES.values()))
    served = Served(other)
    turn = served.turn(stream=shape == "stream", params=PARAMS, option_names=NAMES)
    await served.ask(shape, turn)
    assert turn.dropped == ("logit_bias",)


@SHAPES
@pytest.mark.parametrize(
    ("parsers", "dialect", "raw"),
    [
        (frozenset(), "openai_chat", True),
        (frozenset(), "ollama", False),
        (frozenset({"reasoning"}), "openai_chat", False),
        (None, "openai_chat", False),
    ],
)
async def test_only_what_nobody_parses_in_its_own_dialect_passes_raw(
    shape: str, parsers: frozenset[str] | None, dialect: str, raw: bool
) -> None:
    local = FakeBackend("local", [said("x")], dialect=dialect)
    served = Served(local, parsers=parsers)
    await served.ask(shape, served.turn(stream=shape == "stream"))
    assert local.asked[0][1].raw is raw


class BothOfOpenAI(FakeBackend):
    """Speaks two dialects, as every server of OpenAI's wire."""

    def speaks(self, dialect: str) -> bool:
        return dialect in ("openai_chat", "openai_completions")


@SHAPES
async def test_every_dialect_a_backend_speaks_is_its_own(shape: str) -> None:
    local = BothOfOpenAI("local", [said("x")])
    served = Served(local, parsers=frozenset())
    turn = served.turn(
        stream=shape == "stream",
        dialect="openai_completions",
        operation="text_completion",
        params={"suffix": "}", "echo": False},
    )
    await served.ask(shape, turn)
    assert turn.dropped == ()
    assert local.asked[0][1].raw is True
    assert served.record.provider == "openai_chat"


@SHAPES
async def test_calls_in_the_text_are_read_where_tools_were_offered(shape: str) -> None:
    call = '<tool_call>{"name": "look", "arguments": {"at": "it"}}</tool_call>'
    served = Served(backend(said(call[:7], call[7:30], call[30:])))
    turn = served.turn(stream=shape == "stream", options=Options(tools=(Tool("look"),)))
    await served.ask(shape, turn)
    (made,) = served.record.tool_calls
    assert (made["function"]["name"], served.record.finish_reason) == ("look", "tool_calls")


@SHAPES
async def test_a_surface_that_signs_reasoning_gets_it_signed(shape: str) -> None:
    played = [Delta(reasoning="hm"), *said("x")]
    for dialect, signed in (("openai_chat", True), ("anthropic_messages", False)):
        local = FakeBackend("local", [played], dialect=dialect)
        served = Served(local)
        turn = served.turn(
            stream=shape == "stream", dialect="anthropic_messages", signs_reasoning=True
        )
        whole = Collector()
        told = await served.ask(shape, turn)
        if shape == "stream":
            whole.add(told)
        parts = whole.choices[0].parts if shape == "stream" else told.first.parts
        (reasoning,) = [part for part in parts if isinstance(part, Reasoning)]
        assert bool(reasoning.signature) is signed


async def test_a_stop_string_ends_the_upstream_request() -> None:
    local = backend([Delta(text="one two END three"), Delta(text="four"), 5.0, *said("five")])
    served = Served(local, parsers=frozenset({"output"}))
    turn = served.turn(options=Options(stop=("END",)))
    deltas = await served.stream(turn)
    assert texts(deltas).strip() == "one two"
    assert (local.open, local.aborted) == (0, 1)
    assert (served.record.status, served.record.finish_reason) == ("finished", "stop")


@SHAPES
async def test_a_text_completion_is_served_without_knowledge(shape: str) -> None:
    local = backend(said("x"))
    served = Served(local, route="rag")
    await served.knows(FACT)
    text = "which port does the gateway use"
    turn = served.turn(text, stream=shape == "stream", operation="text_completion")
    await served.ask(shape, turn)
    assert (served.record.route, served.record.operation) == ("direct", "text_completion")
    assert local.asked[0][1].messages == turn.request.messages


@SHAPES
async def test_a_text_completion_with_knowledge_is_refused_in_words(shape: str) -> None:
    served = Served(backend(said("x")))
    turn = served.turn(stream=shape == "stream", operation="text_completion", route="rag")
    with pytest.raises(InvalidRequest, match="not for completions"):
        await served.ask(shape, turn)
    assert served.record.status == "failed"
