"""The remote moderator against a scripted server."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from appliance.config.schema import ModerationConfig
from appliance.domain.chat.ports import Media
from appliance.domain.errors import (
    BackendProtocolError,
    BackendRefused,
    InvalidRequest,
    PartUnavailable,
)
from appliance.domain.identity import Identity
from appliance.domain.moderation.ports import Moderated, ModerationInput, Verdict
from appliance.infra.http.client import HttpClient
from appliance.infra.moderation.remote import RemoteModerator
from tests.fakes.actions import Behaviour, Stall, alone, before_headers
from tests.fakes.answers import broken_json, openai_error, rate_limited, reply_json
from tests.fakes.scripted_backend import ScriptedBackend, closed_port

WHO = Identity("trace", "thread")
DATA = "data:image/png;base64,iVBORw0KGgo="
URL = "https://example.test/a.png"
ROW = {
    "flagged": True,
    "categories": {"hate": True, "illicit": None},
    "category_scores": {"hate": 0.75, "illicit": None},
    "category_applied_input_types": {"hate": ["text"]},
}


class Fetcher:
    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.media = Media("image/png", "iVBORw0KGgo=")

    async def fetch(self, url: str) -> Media:
        self.fetched.append(url)
        return self.media


def answer(*rows: Any, **more: Any) -> Behaviour:
    return reply_json(200, {"id": "modr-9", "model": "omni", "results": [*rows], **more})


@pytest.fixture
def server() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


@pytest.fixture
def fetcher() -> Fetcher:
    return Fetcher()


Make = Callable[..., RemoteModerator]


@pytest.fixture
def make(server: ScriptedBackend, http: HttpClient, fetcher: Fetcher) -> Make:
    def made(**changes: Any) -> RemoteModerator:
        return RemoteModerator(ModerationConfig(**{"url": server.url} | changes), http, fetcher)

    return made


def ask(moderator: RemoteModerator, *texts: str, model: str = "asked", **fields: Any) -> Any:
    inputs = tuple(ModerationInput((text,)) for text in texts or ("hi",))
    return moderator.score(inputs, model, fields, WHO)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
async def test_texts_go_out_and_verdicts_come_back_with_what_else_was_said(
    make: Make, server: ScriptedBackend, ending: str
) -> None:
    server.queue(answer({**ROW, "reason": "slur"}, ROW, usage={"n": 2}))
    made = await ask(make(url=server.url + ending, api_key="k"), "a", "b", user="ann")
    sent = server.wait_request()
    assert sent.path == "/v1/moderations"
    assert json.loads(sent.body) == {"input": ["a", "b"], "model": "asked", "user": "ann"}
    assert sent.headers["authorization"] == "Bearer k"
    assert sent.headers["x-correlation-id"] == "thread"
    scores = {"hate": 0.75, "illicit": None}
    said = (True, {"hate": True, "illicit": None}, scores, {"hate": ("text",)})
    verdicts = (Verdict(*said, {"reason": "slur"}), Verdict(*said))
    rest = ("moderation", "openai_moderations", "modr-9", {"usage": {"n": 2}})
    assert made == Moderated("omni", verdicts, *rest)


@pytest.mark.parametrize(
    ("configured", "asked", "sent"),
    [("own", "theirs", "own"), ("", "theirs", "theirs"), ("", "", None)],
)
async def test_the_configured_model_is_asked_else_the_callers_else_none(
    make: Make, server: ScriptedBackend, configured: str, asked: str, sent: str | None
) -> None:
    server.queue(answer(ROW))
    await ask(make(model=configured), model=asked)
    assert json.loads(server.wait_request().body).get("model") == sent


async def test_images_are_fetched_and_sent_inline(
    make: Make, server: ScriptedBackend, fetcher: Fetcher
) -> None:
    server.queue(answer(ROW))
    one = ModerationInput(("look",), (URL, DATA), parts=True)
    await make().score((one,), "", {}, WHO)
    inline = {"type": "image_url", "image_url": {"url": DATA}}
    parts = [{"type": "text", "text": "look"}, inline, inline]
    assert json.loads(server.wait_request().body)["input"] == parts
    assert fetcher.fetched == [URL]


async def test_what_is_no_image_is_refused(make: Make, fetcher: Fetcher) -> None:
    fetcher.media = Media("text/html", "aGk=")
    with pytest.raises(InvalidRequest, match="not an image"):
        await make().score((ModerationInput((), (URL,), parts=True),), "", {}, WHO)


async def test_a_server_that_is_not_there_is_a_part_that_is_down(make: Make) -> None:
    with closed_port() as port, pytest.raises(PartUnavailable) as down:
        await ask(make(url=f"http://127.0.0.1:{port}"))
    assert down.value.part == "moderation"


async def test_a_silent_server_is_a_part_that_is_down(make: Make, server: ScriptedBackend) -> None:
    server.queue(alone(Stall()), before_headers(Stall(), answer(ROW)))
    for _ in range(2):
        with pytest.raises(PartUnavailable) as down:
            await ask(make(timeout_s=0.2))
        assert down.value.part == "moderation"


async def test_its_refusals_are_its_own(make: Make, server: ScriptedBackend) -> None:
    server.queue(openai_error(400, "too many inputs", "invalid_request_error"), rate_limited("7"))
    with pytest.raises(BackendRefused, match="too many inputs") as refused:
        await ask(make())
    assert (refused.value.status, refused.value.backend) == (400, "moderation")
    with pytest.raises(BackendRefused) as limited:
        await ask(make())
    assert (limited.value.status, limited.value.retry_after_s) == (429, 7.0)


@pytest.mark.parametrize(
    "behaviour",
    [
        broken_json(),
        reply_json(200, {}),
        reply_json(200, {"results": "none"}),
        answer(),
        answer(ROW, ROW),
        answer("flagged"),
        answer({"flagged": True}),
        answer({**ROW, "flagged": "yes"}),
        answer({**ROW, "category_scores": [1]}),
    ],
)
async def test_what_is_no_answer_is_told_so(
    make: Make, server: ScriptedBackend, behaviour: Behaviour
) -> None:
    server.queue(behaviour)
    with pytest.raises(BackendProtocolError):
        await ask(make())


def test_every_name_is_its_own_but_the_lexicons(make: Make) -> None:
    assert all(map(make().serves, ("", "omni-moderation-latest", "llama-guard")))
    assert not make().serves("lexicon-en-1")
