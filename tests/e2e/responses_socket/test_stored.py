"""What is stored meets what is not: continued on a connection, compacted, with its phases."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.fakes.answers import chat
from tests.fakes.gateway import GatewayProcess, backend_config
from tests.fakes.postgres import Cluster
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.socket_client import SocketClient, text_of
from tests.fakes.spool_reader import wait_spooled

URL = "/v1/responses"


@pytest.fixture(scope="module")
def stores(
    backend: ScriptedBackend,
    postgres_cluster: Cluster,
    migrated: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("storing")
    secret = folder / "dsn"
    secret.write_text(postgres_cluster.create_database(migrated), encoding="utf-8")
    secret.chmod(0o600)
    config = backend_config(backend.base_url) + f'[postgres]\ndsn = "file:{secret}"\n'
    with GatewayProcess(folder, config) as running:
        yield running


@pytest.fixture
def storing(stores: GatewayProcess, backend: ScriptedBackend) -> GatewayProcess:
    """A gateway that stores; the backend's records start empty."""
    backend.forget()
    return stores


def said_to(backend: ScriptedBackend) -> list[tuple[str, str]]:
    """The last question of a backend, as roles and texts."""
    return [(m["role"], m["content"]) for m in backend.requests[-1].json["messages"]]


def post(gateway: GatewayProcess, path: str = URL, **body: Any) -> Any:
    answer = httpx.post(gateway.url + path, json={"model": "scripted", **body}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_chain_goes_through_what_is_stored_and_what_is_not(
    storing: GatewayProcess, backend: ScriptedBackend
) -> None:
    backend.queue(chat("one"), chat("two"), chat("three"), chat("four"))
    first = post(storing, input="first")
    with SocketClient(storing.url) as socket:
        second = socket.ask("second", previous_response_id=first["id"])["response"]
        third = socket.ask("third", previous_response_id=second["id"], store=True)["response"]
        assert (second["store"], third["store"]) == (False, True)
        last = socket.ask("fourth", previous_response_id=third["id"], store=True)["response"]
        with SocketClient(storing.url) as other:
            for unstored in (second["id"], third["id"]):  # a chain with a link that is gone
                error = other.ask(previous_response_id=unstored)["error"]
                assert error["code"] == "previous_response_not_found"
    assert [text for _, text in said_to(backend)] == [
        "first",
        "one",
        "second",
        "two",
        "third",
        "three",
        "fourth",
    ]
    assert httpx.get(f"{storing.url}{URL}/{last['id']}").json()["output"] == last["output"]
    traces = [r["id"].removeprefix("resp_") for r in (first, last)]
    threads = {
        wait_spooled(storing.spool, lambda r, t=t: r["trace_id"] == t)["conversation_id"]  # type: ignore[misc]
        for t in traces
    }
    assert len(threads) == 1


def test_a_phase_is_kept_where_a_client_gave_it(
    storing: GatewayProcess, backend: ScriptedBackend
) -> None:
    spoken = {
        "type": "message",
        "role": "assistant",
        "phase": "commentary",
        "content": [{"type": "output_text", "text": "I look."}],
    }
    asked = [{"role": "user", "content": "How heavy?"}, spoken, {"role": "user", "content": "So?"}]
    response = post(storing, input=asked)
    items = httpx.get(f"{storing.url}{URL}/{response['id']}/input_items?order=asc").json()["data"]
    assert [item.get("phase") for item in items] == [None, "commentary", None]
    assert response["output"][-1]["phase"] == "final_answer"
    post(storing, input="More?", previous_response_id=response["id"])
    assert ("assistant", "I look.") in said_to(backend)


def test_a_compacted_conversation_goes_on_from_its_summary(
    storing: GatewayProcess, backend: ScriptedBackend
) -> None:
    backend.queue(chat("green tea"), chat("They want green tea."), chat("on it"), chat("again"))
    first = post(storing, input="Which tea?")
    with OpenAI(base_url=f"{storing.url}/v1", api_key="none", max_retries=0) as openai:
        compacted = openai.responses.compact(model="scripted", previous_response_id=first["id"])
    assert compacted.object == "response.compaction"
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    assert compacted.usage.input_tokens == 7
    assert "[user] Which tea?\n\n[assistant] green tea" in said_to(backend)[-1][1]
    # The SDK takes every message of an output for an answer, and warns of a question.
    output = compacted.model_dump(exclude_none=True, warnings=False)["output"]
    next_one = post(storing, input=[*output, {"role": "user", "content": "Make it."}])
    told = "\n".join(text for _, text in said_to(backend))
    assert told.index("Which tea?") < told.index("They want green tea.") < told.index("Make it.")
    assert text_of({"response": next_one}) == "on it"
    post(storing, input="And now?", previous_response_id=next_one["id"])
    assert "They want green tea." in "\n".join(text for _, text in said_to(backend))
    items = httpx.get(f"{storing.url}{URL}/{next_one['id']}/input_items?order=asc").json()["data"]
    assert [item["type"] for item in items] == ["message", "compaction", "message"]
    trace_id = compacted.id.removeprefix("resp_")
    record = wait_spooled(storing.spool, lambda r: r["trace_id"] == trace_id)
    assert (record["status"], record["surface"]) == ("finished", "openai_responses")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"input": "Hi"}, 400, "model"),
        ({"model": "scripted"}, 400, "input"),
        ({"model": "scripted", "input": []}, 400, "input"),
        ({"model": "nobody", "input": "Hi"}, 404, "model"),
        ({"model": "scripted", "previous_response_id": "resp_none"}, 404, "previous_response_id"),
        (
            {"model": "scripted", "input": [{"type": "compaction", "encrypted_content": "no"}]},
            400,
            "input",
        ),
    ],
)
def test_what_cannot_be_compacted_is_refused(
    storing: GatewayProcess, body: dict[str, Any], status: int, param: str
) -> None:
    answer = httpx.post(f"{storing.url}{URL}/compact", json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param


def test_a_summary_somebody_changed_is_refused_on_every_way_in(storing: GatewayProcess) -> None:
    items = [
        {"type": "compaction", "encrypted_content": "ag1.AAAA.BBBB"},
        {"role": "user", "content": "Hi"},
    ]
    answer = httpx.post(storing.url + URL, json={"model": "scripted", "input": items})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_compaction")
    with SocketClient(storing.url) as socket:
        refused = socket.ask(input=items)
        assert (refused["status"], refused["error"]["code"]) == (400, "invalid_compaction")
