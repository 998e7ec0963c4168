"""The openai package for Node on Responses, unmodified, against a gateway that stores them."""

import pytest

from tests.clients.printed import Printed, run
from tests.clients.scenarios import TEXT
from tests.fakes.gateway import GatewayProcess
from tests.fakes.node import INSTALL_WITHIN_S, Node
from tests.fakes.scripted_backend import ScriptedBackend

pytestmark = pytest.mark.timeout(INSTALL_WITHIN_S + 60)  # the first test may have to install
WHOLE = "".join(TEXT)


@pytest.fixture(scope="module")
def printed(
    node: Node, storing_gateway: GatewayProcess, running_backend: ScriptedBackend
) -> Printed:
    return run(node, running_backend, "responses_sdk.cjs", f"{storing_gateway.url}/v1")


def test_once(printed: Printed) -> None:
    answer = printed["once"]
    assert (answer["output_text"], answer["status"], answer["store"]) == (WHOLE, "completed", True)
    assert answer["usage"]["output_tokens"] == len(TEXT)


def test_a_stream_accumulates(printed: Printed) -> None:
    found = printed["stream"]
    assert found["deltas"] == list(TEXT)
    assert found["numbers"] == list(range(len(found["numbers"])))
    assert found["response"]["output_text"] == WHOLE


def test_results_continue_a_response_with_calls(printed: Printed) -> None:
    first, second = printed["tools"]["first"], printed["tools"]["second"]
    assert [item["type"] for item in first["output"]] == [
        "message",
        "function_call",
        "function_call",
    ]
    assert (second["output_text"], second["previous_response_id"]) == ("It is cold.", first["id"])
    (sent,) = printed.requests["after-tools"]
    assert [message["role"] for message in sent.json["messages"]] == [
        "user",
        "assistant",
        "tool",
        "tool",
    ]


def test_a_stored_response_is_read_listed_replayed_and_deleted(printed: Printed) -> None:
    found = printed["stored"]
    assert found["found"]["output_text"] == WHOLE
    assert [item["content"][0]["text"] for item in found["items"]] == ["How is Tromsø?"]
    assert found["replayed"][0]["sequence_number"] == 4
    assert found["replayed"][-1]["type"] == "response.completed"
    assert (found["gone"]["class"], found["gone"]["status"]) == ("NotFoundError", 404)


def test_a_background_response_is_polled(printed: Printed) -> None:
    assert printed["background"]["begun"]["background"]
    assert printed["background"]["found"]["output_text"] == WHOLE


def test_a_background_stream_outlives_its_first_reader(printed: Printed) -> None:
    events = printed["backgroundStream"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == WHOLE


def test_a_response_is_cancelled_while_it_is_followed(printed: Printed) -> None:
    found = printed["cancel"]
    assert found["cancelled"]["status"] == found["found"]["status"] == "cancelled"


def test_errors(printed: Printed) -> None:
    cases = ("refused", "missing", "limited", "fallen")
    assert {name: (printed[name]["class"], printed[name]["status"]) for name in cases} == {
        "refused": ("BadRequestError", 400),
        "missing": ("NotFoundError", 404),
        "limited": ("RateLimitError", 429),
        "fallen": ("InternalServerError", 500),
    }
    assert all(printed[name]["id"] for name in cases)


def test_an_error_in_the_stream_is_its_end(printed: Printed) -> None:
    assert printed["breaks"]["type"] == "response.failed"
    assert "out of memory" in printed["breaks"]["response"]["error"]["message"]
