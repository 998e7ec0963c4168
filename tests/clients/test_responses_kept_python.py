"""The openai package for Python on Responses that are kept, unmodified: read, replayed, continued,
followed and cancelled; over a WebSocket, and compacted."""

import threading
from collections.abc import Sequence
from typing import Any

import openai
import pytest
from openai.types.responses import Response

from tests.clients.scenarios import TEXT
from tests.fakes.actions import Stall, after_chunks
from tests.fakes.answers import chat
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.until import until

WHOLE = "".join(TEXT)
LIVE = ("queued", "in_progress")
LAST = ("response.completed", "response.failed", "response.incomplete", "error")


def finished(api: openai.OpenAI, response_id: str) -> Response:
    """As a client polls."""
    until(lambda: api.responses.retrieve(response_id).status not in LIVE)
    return api.responses.retrieve(response_id)


def turn(connection: Any, **asked: Any) -> Sequence[Any]:
    """The events of one turn over a connection."""
    connection.response.create(model="plain", store=False, **asked)
    events = [connection.recv()]
    while events[-1].type not in LAST:
        events.append(connection.recv())
    return events


def test_a_stored_response_is_read_listed_replayed_and_deleted(
    api: openai.OpenAI,
) -> None:
    with api.responses.stream(model="plain", input="Hello") as stream:
        told = list(stream)
    response_id = stream.get_final_response().id
    found = api.responses.retrieve(response_id)
    assert (found.output_text, found.status) == (WHOLE, "completed")
    (asked,) = api.responses.input_items.list(response_id)
    assert asked.type == "message"
    assert asked.content[0].text == "Hello"  # type: ignore[union-attr]
    after = list(api.responses.retrieve(response_id, stream=True, starting_after=3))
    assert [(e.sequence_number, e.type) for e in after] == [
        (e.sequence_number, e.type) for e in told[4:]
    ]
    api.responses.delete(response_id)
    with pytest.raises(openai.NotFoundError):
        api.responses.retrieve(response_id)


def test_input_items_are_paged(api: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": f"number {n}"} for n in range(5)]
    answer = api.responses.create(model="plain", input=asked)
    page = api.responses.input_items.list(answer.id, limit=2, order="asc")
    assert page.has_more
    texts = [item.content[0].text for item in page]  # type: ignore[union-attr]
    assert texts == [f"number {n}" for n in range(5)]


def test_what_is_not_stored_is_not_there(api: openai.OpenAI) -> None:
    answer = api.responses.create(model="plain", input="Hello", store=False)
    assert answer.store is False
    with pytest.raises(openai.NotFoundError):
        api.responses.retrieve(answer.id)
    with pytest.raises(openai.NotFoundError) as gone:
        api.responses.create(model="plain", input="And?", previous_response_id=answer.id)
    assert gone.value.code == "previous_response_not_found"


def test_a_background_response_is_polled(api: openai.OpenAI) -> None:
    begun = api.responses.create(model="plain", input="Hello", background=True)
    assert begun.background
    assert begun.status in (*LIVE, "completed")
    assert finished(api, begun.id).output_text == WHOLE


def test_a_background_stream_is_left_and_taken_up_again(
    api: openai.OpenAI, backend: ScriptedBackend
) -> None:
    """Leaving ends the reading, not the answer."""
    stream = api.responses.create(model="plain", input="Hello", background=True, stream=True)
    with stream:
        heard = [next(iter(stream))]
    response_id = heard[0].response.id  # type: ignore[union-attr]
    rest = api.responses.retrieve(
        response_id, stream=True, starting_after=heard[-1].sequence_number
    )
    heard += list(rest)
    assert [e.sequence_number for e in heard] == list(range(len(heard)))
    assert "".join(e.delta for e in heard if e.type == "response.output_text.delta") == WHOLE
    assert heard[-1].type == "response.completed"
    assert len(backend.requests) == 1


def test_a_response_is_followed_while_it_is_made_and_cancelled(
    api: openai.OpenAI, backend: ScriptedBackend
) -> None:
    backend.queue(after_chunks(3, Stall(), chat(TEXT)))
    begun = api.responses.create(model="plain", input="Hello", background=True)
    assert begun.status in LIVE
    heard: list[str] = []
    ended = threading.Event()

    def follow() -> None:
        for event in api.responses.retrieve(begun.id, stream=True):
            if event.type == "response.output_text.delta":
                heard.append(event.delta)
        ended.set()

    reader = threading.Thread(target=follow)
    reader.start()
    until(lambda: len(heard) == 2)
    cancelled = api.responses.cancel(begun.id)
    assert (cancelled.status, cancelled.output_text) == ("cancelled", "".join(TEXT[:2]))
    reader.join(60)
    assert ended.is_set(), "who reads it is told"
    assert backend.wait_hang_up()
    assert api.responses.retrieve(begun.id).status == "cancelled"


def test_only_a_background_response_can_be_cancelled(api: openai.OpenAI) -> None:
    answer = api.responses.create(model="plain", input="Hello")
    with pytest.raises(openai.BadRequestError):
        api.responses.cancel(answer.id)


def test_turns_over_one_connection_continue_each_other(
    api: openai.OpenAI, backend: ScriptedBackend
) -> None:
    """Nothing is stored: the connection remembers."""
    with api.responses.connect() as connection:
        first = turn(connection, input="One")
        told = [event.delta for event in first if event.type == "response.output_text.delta"]
        assert (told, first[-1].type) == (list(TEXT), "response.completed")
        previous = first[-1].response.id
        second = turn(connection, input="Two", previous_response_id=previous)
        assert second[-1].response.output_text == WHOLE
    assert [m["content"] for m in backend.requests[1].json["messages"]] == ["One", WHOLE, "Two"]
    with api.responses.connect() as connection:
        (refused,) = turn(connection, input="Three", previous_response_id=previous)
        assert (refused.type, refused.error.code) == ("error", "previous_response_not_found")
        assert turn(connection, input="Four")[-1].type == "response.completed"


def test_a_conversation_is_compacted_and_goes_on(
    api: openai.OpenAI, backend: ScriptedBackend
) -> None:
    long: Any = [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}]
    compacted = api.responses.compact(model="plain", input=long)
    assert compacted.object == "response.compaction"
    assert compacted.output[-1].type == "compaction"
    asked: Any = [
        *(item.model_dump(exclude_none=True, warnings=False) for item in compacted.output),
        {"role": "user", "content": "And now?"},
    ]
    answer = api.responses.create(model="plain", input=asked, store=False)
    assert answer.output_text == WHOLE
    sent = backend.requests[-1].body.decode()
    assert WHOLE in sent, "what the model made of it stands for what was before"
    assert "And now?" in sent


def test_a_summary_can_be_a_response_of_its_own(
    api: openai.OpenAI, backend: ScriptedBackend
) -> None:
    asked: Any = [{"role": "user", "content": "One"}, {"type": "compaction_trigger"}]
    with api.responses.stream(model="plain", input=asked) as stream:
        kinds = [event.type for event in stream]
        (item,) = (answer := stream.get_final_response()).output
    assert item.type == "compaction"
    assert "response.compaction.compacting" in kinds
    assert not [kind for kind in kinds if "output_text" in kind]
    api.responses.create(model="plain", input="And now?", previous_response_id=answer.id)
    told = backend.requests[-1].body.decode()
    assert told.index(WHOLE) < told.index("And now?")
    assert "One" not in told, "the summary stands for it"
