import json
from typing import Any

import pytest

from appliance.domain.conversation.message import plain
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.conversation.stream import Answer, Choice
from appliance.domain.conversation.usage import Usage
from appliance.domain.errors import InvalidRequest
from appliance.domain.events.exchange import Feedback
from appliance.domain.responses.record import id_of
from appliance.presentation.feedback import MAX_BODY_BYTES, MAX_COMMENT_CHARS, decode, encode
from appliance.presentation.surface import SURFACES, ChatSurface

ANSWER = Answer((Choice(finish_reason="stop"),), Usage())
RATED = "019dc3a01f00" + "a" * 20


def body(**fields: Any) -> bytes:
    """A good one but for `fields`; `...` leaves one out."""
    whole = {"trace_id": RATED, "rating": 3} | fields
    return json.dumps({k: v for k, v in whole.items() if v is not ...}).encode()


@pytest.mark.parametrize(
    ("said", "rating"), [("up", 1), ("down", -1), (0, 0), (-5, -5), (5, 5), (3, 3)]
)
def test_a_rating_is_a_number_or_a_direction(said: object, rating: int) -> None:
    assert decode(body(rating=said), {})[0] == Feedback(RATED, rating)


def test_comment_project_and_conversation_come_along() -> None:
    sent = body(comment="good 👍", x_project="p1")
    given, own = decode(sent, {"x-conversation": "talk"})
    assert given == Feedback(RATED, 3, "good 👍")
    assert (own.project, own.conversation) == ("p1", "talk")


@pytest.mark.parametrize("comment", [None, ""])
def test_no_comment_is_an_empty_one(comment: str | None) -> None:
    assert decode(body(comment=comment), {})[0].comment == ""


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        *(({"rating": bad}, "rating") for bad in (6, -6, 2**70, 1.0, True, None, "1", "UP", [1])),
        ({"rating": ...}, "rating"),
        ({"trace_id": ...}, "trace_id"),
        ({"trace_id": 7}, "trace_id"),
        ({"trace_id": None}, "trace_id"),
        ({"comment": "x" * (MAX_COMMENT_CHARS + 1)}, "comment"),
        ({"comment": 7}, "comment"),
        ({"x_project": "no spaces"}, "x_project"),
        ({"coment": "misspelt"}, None),
    ],
)
def test_what_it_does_not_mean_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(body(**fields), {})
    assert refused.value.param == param


@pytest.mark.parametrize("sent", [b"", b"[]", b"nothing", b'{"trace_id":"\xff"}'])
def test_what_is_no_object_is_refused(sent: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode(sent, {})


def test_the_longest_comment_fits_however_it_is_escaped() -> None:
    sent = body(comment="😀" * MAX_COMMENT_CHARS)
    assert len(sent) < MAX_BODY_BYTES
    assert len(decode(sent, {})[0].comment) == MAX_COMMENT_CHARS


# Ollama's answers have no id: who rates one knows it from the header `x-request-id`.
CHATS = [surface for surface in SURFACES if isinstance(surface, ChatSurface)]
WITH_IDS = [surface for surface in CHATS if not surface.name.startswith("ollama")]


def test_the_id_of_a_response_is_its_trace_id() -> None:
    assert decode(body(trace_id=id_of(RATED)), {})[0].rated_trace_id == RATED


@pytest.mark.parametrize("surface", WITH_IDS, ids=lambda surface: surface.name)
def test_the_id_of_an_answer_we_made_is_its_trace_id(surface: ChatSurface) -> None:
    request = ChatRequest("m", (plain("user", "hi"),), False)
    made = json.loads(surface.encoder(request, RATED, 1).once(ANSWER, None))
    assert made["id"] != RATED
    assert decode(body(trace_id=made["id"]), {})[0].rated_trace_id == RATED


def test_the_answer_tells_what_was_understood() -> None:
    told = json.loads(encode("b" * 32, Feedback(RATED, -1, "why"), stored=False))
    assert told == {
        "object": "feedback",
        "id": "b" * 32,
        "trace_id": RATED,
        "rating": -1,
        "stored": False,
    }
