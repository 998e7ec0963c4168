from dataclasses import replace
from typing import Any

import pytest

from appliance.config.schema import KnowledgeConfig
from appliance.domain.chat.knowledge import DEFAULT_OUTPUT_TOKENS, Augmenter, without_reminders
from appliance.domain.conversation.message import Message, plain
from appliance.domain.conversation.options import Options, Tool
from appliance.domain.conversation.parts import Text
from appliance.domain.conversation.request import ChatRequest, Extensions
from appliance.domain.identity import Identity
from appliance.domain.knowledge.retrieve import Retriever
from appliance.domain.routing.candidate import Candidate, Plan
from appliance.domain.vectorstore.ports import NewChunk
from tests.fakes.embedder import WordEmbedder
from tests.fakes.store import MemoryStore

IDS = Identity("trace", "thread")
FACT = "the gateway does use port 8080"


def request(text: str = "which port does the gateway use", **fields: Any) -> ChatRequest:
    extensions = Extensions(route="rag", workspace=fields.pop("workspace", ""))
    messages = (plain("system", "Be terse."), plain("user", text))
    return ChatRequest("m", messages, options=Options(**fields), extensions=extensions)


def plan(workspace: str = "") -> Plan:
    return Plan("m", (Candidate("a", "m"),), "", workspace=workspace)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
async def augmenter(store: MemoryStore, embedder: WordEmbedder) -> Augmenter:
    vectors = (await WordEmbedder().embed([FACT])).vectors
    for workspace in ("default", "team"):
        await store.replace(
            "ports.md", workspace=workspace, digest="d", size_bytes=1, model="words",
            chunks=[NewChunk(0, FACT, vectors[0])],
        )  # fmt: skip
    retriever = Retriever(embedder, store, KnowledgeConfig())
    return Augmenter(retriever, workspace="default")


@pytest.mark.parametrize(
    ("asked", "row", "expected"),
    [("", "", "default"), ("", "team", "team"), ("own", "team", "own"), ("own", "", "own")],
)
def test_the_requests_workspace_wins_over_its_models_and_the_configured_one(
    augmenter: Augmenter, asked: str, row: str, expected: str
) -> None:
    assert augmenter.workspace(request(workspace=asked), plan(row)) == expected


async def test_chunks_are_added_and_the_clients_messages_stay_as_they_are(
    augmenter: Augmenter,
) -> None:
    asked = request()
    messages, found = await augmenter.augment(asked, plan("team"), 4096, IDS)
    assert [h.document for h in found.hits] == ["ports.md"]
    assert found.workspace == "team"
    assert any(FACT in m.text for m in messages)
    assert [m for m in messages if m in asked.messages] == list(asked.messages)
    assert messages[-1] is asked.messages[-1]


async def test_a_part_that_is_down_leaves_the_messages_alone_and_is_named(
    augmenter: Augmenter, store: MemoryStore, embedder: WordEmbedder
) -> None:
    asked = request()
    store.down = True
    messages, found = await augmenter.augment(asked, plan(), 4096, IDS)
    assert (messages, found.hits, found.degraded) == (asked.messages, (), "postgres")
    embedder.down = True
    messages, found = await augmenter.augment(asked, plan(), 4096, IDS)
    assert (messages, found.degraded) == (asked.messages, "inference")


async def test_room_for_the_answer_and_the_prompt_is_kept_free(augmenter: Augmenter) -> None:
    async def hits(asked: ChatRequest, window: int) -> int:
        return len((await augmenter.augment(asked, plan(), window, IDS))[1].hits)

    assert await hits(request(), 1024) == 1
    assert await hits(request(max_output_tokens=900), 1024) == 0
    assert await hits(request("which port does the gateway use " + "x " * 2000), 1024) == 0
    assert await hits(request(tools=(Tool("x" * 3000),)), 1024) == 0


async def test_a_window_nobody_knows_is_the_configured_one(augmenter: Augmenter) -> None:
    asked = request(max_output_tokens=4090)
    assert (await augmenter.augment(asked, plan(), 0, IDS))[1].hits == ()
    assert len((await augmenter.augment(asked, plan(), 32768, IDS))[1].hits) == 1


async def test_an_output_limit_nobody_gave_is_the_default(augmenter: Augmenter) -> None:
    window = DEFAULT_OUTPUT_TOKENS + 500
    assert len((await augmenter.augment(request(), plan(), window, IDS))[1].hits) == 1


DATE = "<system-reminder>\nToday is Friday; the gateway uses bread.\n</system-reminder>"


async def test_what_an_agent_puts_around_a_question_is_not_looked_up_but_sent(
    augmenter: Augmenter, embedder: WordEmbedder
) -> None:
    asked = request()
    question = asked.last_user_text
    reminded = Message("user", (Text(DATE), Text(question), Text(f"{DATE}\n{DATE}")))
    asked = replace(asked, messages=(asked.messages[0], reminded))
    messages, found = await augmenter.augment(asked, plan(), 4096, IDS)
    assert embedder.texts == [question]
    assert found.query == question
    assert messages[-1] is reminded


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("which port?", "which port?"),
        (f"{DATE}which port?", "which port?"),
        (f"\n {DATE}\n{DATE} \nwhich\nport?\n", "which\nport?"),
        (f"which port?\n\n{DATE}", "which port?"),
        (f"{DATE} which port? {DATE}{DATE}\n", "which port?"),
        (DATE, ""),
        (f"{DATE}{DATE}", ""),
        ("", ""),
        (" \n", ""),
        (f"what is {DATE} for?", f"what is {DATE} for?"),
        ("<system-reminder>which port?", "<system-reminder>which port?"),
        ("which port?</system-reminder>", "which port?</system-reminder>"),
        ("<reminder>a</reminder> which port?", "<reminder>a</reminder> which port?"),
    ],
)
def test_only_whole_reminders_at_both_ends_are_left_out(text: str, asked: str) -> None:
    assert without_reminders(text) == asked


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (f"{DATE * 20_000}which port?{DATE * 20_000}", "which port?"),
        ("<system-reminder>" * 50_000, "<system-reminder>" * 50_000),
        ("</system-reminder>" * 50_000, "</system-reminder>" * 50_000),
        (" " * 1_000_000, ""),
    ],
    ids=["whole", "opened", "closed", "space"],
)
def test_any_number_of_them_is_left_out(text: str, asked: str) -> None:
    assert without_reminders(text) == asked


async def test_a_retrieval_begins_when_its_caller_says(augmenter: Augmenter) -> None:
    _, found = await augmenter.augment(request(), plan(), 4096, IDS, began_s=0.25)
    assert found.began_s == 0.25
    assert found.embedding is not None
    assert found.embedding.began_s == 0.25
