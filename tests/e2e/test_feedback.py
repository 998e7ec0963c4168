"""`POST /v1/feedback`: from a request to its row, and what becomes of it after that."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import httpx
import pytest

from tests.cross.clients import CLIENTS, Ask, Client
from tests.e2e.asking import CHAT, error_of, question
from tests.fakes.answers import chat
from tests.fakes.pipeline import Pipeline
from tests.fakes.postgres import Cluster
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fixtures_nats import NatsServer

LAPTOP, PHONE = "ag-laptop", "ag-phone"
PATH = "/v1/feedback"
NOBODYS = "0" * 32
FUTURE = "f" * 32


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    made = NatsServer(tmp_path_factory.mktemp("nats"))
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def pipeline(
    tmp_path_factory: pytest.TempPathFactory,
    backend: ScriptedBackend,
    server: NatsServer,
    postgres_cluster: Cluster,
    migrated: str,
) -> Iterator[Pipeline]:
    dsn = postgres_cluster.create_database(migrated)
    keys = tmp_path_factory.mktemp("keys") / "keys.toml"
    keys.write_text(
        "".join(
            f'[[keys]]\nname = "{key.removeprefix("ag-")}"\n'
            f'sha256 = "{sha256(key.encode()).hexdigest()}"\n'
            for key in (LAPTOP, PHONE)
        )
    )
    backend.script("scripted", chat("as asked"))
    tables = f'[gateway]\nkeys_file = "{keys}"\n'
    folder = tmp_path_factory.mktemp("feedback")
    with Pipeline(folder, backend.base_url, server, dsn, tables=tables) as running:
        yield running


def send(
    pipeline: Pipeline, body: Any, path: str = PATH, key: str = LAPTOP, **headers: str
) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}", **headers}
    return httpx.post(pipeline.gateway.url + path, json=body, headers=headers, timeout=60)


def asked(pipeline: Pipeline, body: Any = None, path: str = CHAT) -> httpx.Response:
    """An answer to the laptop."""
    answer = send(pipeline, body or question(), path)
    assert answer.status_code == 200, answer.text
    return answer


def rate(pipeline: Pipeline, rated: str, rating: object, key: str = LAPTOP, **fields: Any) -> str:
    """The trace id of feedback that was taken."""
    taken = send(pipeline, {"trace_id": rated, "rating": rating, **fields}, key=key)
    assert taken.status_code == 202, taken.text
    assert taken.json()["stored"] is True
    trace_id: str = taken.headers["x-request-id"]
    return trace_id


def rows_of(pipeline: Pipeline, rated: str, count: int) -> list[dict[str, Any]]:
    """What was said of an exchange, oldest first, once there is so much of it."""
    by = "SELECT * FROM feedback WHERE trace_id = %s ORDER BY stream_sequence"
    pipeline.until(lambda: len(pipeline.rows(by, rated)) == count, pipeline.letters)
    return pipeline.rows(by, rated)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda c: c.surface)
def test_feedback_on_an_answer_of_every_surface_becomes_a_row_by_either_of_its_ids(
    pipeline: Pipeline, client: Client
) -> None:
    answer = asked(pipeline, client.body("scripted", Ask()), client.path)
    rated = answer.headers["x-request-id"]
    fields = {"rating": -3, "comment": "wrong\0 port", "x_project": "p1"}
    taken = send(pipeline, {"trace_id": rated, **fields}, **{"x-correlation-id": "thread"})
    assert taken.status_code == 202, taken.text
    own = taken.headers["x-request-id"]
    told = {"object": "feedback", "id": own, "trace_id": rated, "rating": -3, "stored": True}
    assert taken.json() == told
    # Ollama's answers have no id of their own: theirs is the header's.
    rate(pipeline, answer.json().get("id", rated), "up")
    row, by_body = rows_of(pipeline, rated, 2)
    assert (row["rating"], row["comment"], row["project"]) == (-3, "wrong\ufffd port", "p1")
    assert (row["feedback_trace_id"], row["correlation_id"]) == (own, "thread")
    assert (by_body["rating"], by_body["comment"]) == (1, "")
    for table in ("chat_history", "chat_pairs", "flow_lineage"):
        assert not pipeline.of(table, own)


def test_everybody_may_rate_and_the_row_tells_who_did_and_who_had_asked(pipeline: Pipeline) -> None:
    rated = asked(pipeline).headers["x-request-id"]
    pipeline.wait_row(rated)
    for key, rating in ((LAPTOP, "down"), (PHONE, 5), (LAPTOP, 4)):
        rate(pipeline, rated, rating, key)
    found = [(row["key_name"], row["rating"]) for row in rows_of(pipeline, rated, 3)]
    assert found == [("laptop", -1), ("phone", 5), ("laptop", 4)]
    assert pipeline.of("chat_pairs", rated)[0]["key_name"] == "laptop"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"trace_id": FUTURE}, "trace_id"),
        ({"trace_id": "../etc/passwd"}, "trace_id"),
        ({"trace_id": None}, "trace_id"),
        ({"rating": 1.0}, "rating"),
        ({"rating": True}, "rating"),
        ({"rating": 6}, "rating"),
        ({"rating": "sideways"}, "rating"),
        ({"comment": "x" * 10_001}, "comment"),
        ({"score": 1}, None),
    ],
)
def test_what_is_no_feedback_is_refused_in_openais_shape(
    pipeline: Pipeline, fields: dict[str, Any], param: str | None
) -> None:
    error = error_of(send(pipeline, {"trace_id": NOBODYS, "rating": 1} | fields), 400)
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_nothing_that_was_refused_is_kept(pipeline: Pipeline) -> None:
    good = {"trace_id": NOBODYS, "rating": 1, "comment": "refused"}
    error_of(send(pipeline, good, key="ag-stranger"), 401)
    error_of(send(pipeline, good | {"rating": None}), 400)
    error_of(send(pipeline, good | {"comment": "x" * 200_000}), 413)
    error_of(httpx.get(pipeline.gateway.url + PATH, headers={"x-api-key": LAPTOP}), 405)
    # Of an exchange nobody knows: whether there is one is not asked.
    rate(pipeline, NOBODYS, 1, comment="the marker")
    (row,) = rows_of(pipeline, NOBODYS, 1)
    assert row["comment"] == "the marker"


def test_trace_tells_it_of_what_is_rated_and_of_the_request_that_brought_it(
    pipeline: Pipeline,
) -> None:
    rated = asked(pipeline).headers["x-request-id"]
    pipeline.wait_row(rated)
    own = rate(pipeline, rated, -2, PHONE, comment="far too long")
    rows_of(pipeline, rated, 1)
    told = " ".join(pipeline.command("trace", rated).stdout.split())
    assert "feedback -2 at " in told
    assert f" by phone brought by trace {own}" in told
    assert "far too long" in told
    assert "pipeline.knowledge.feedback" in told
    assert "as asked" in told
    brought = " ".join(pipeline.command("trace", own).stdout.split())
    assert f" by phone for trace {rated}" in brought
    assert "as asked" not in brought
    assert "not found" not in brought


def test_neither_a_kill_nor_an_outage_loses_it(pipeline: Pipeline, server: NatsServer) -> None:
    rated = asked(pipeline).headers["x-request-id"]
    pipeline.wait_row(rated)
    server.kill()
    consumer = pipeline.consumer
    assert consumer is not None
    brought = [rate(pipeline, rated, rating) for rating in (1, 2)]
    in_spool = " ".join(pipeline.command("trace", brought[0]).stdout.split())
    assert f" by laptop for trace {rated}" in in_spool
    pipeline.gateway.kill()
    consumer.stop(9)
    pipeline.gateway.start()
    brought.append(rate(pipeline, rated, 3))
    server.start()
    consumer.start()
    found = rows_of(pipeline, rated, 3)
    assert {row["feedback_trace_id"] for row in found} == set(brought)
    assert sorted(row["rating"] for row in found) == [1, 2, 3]


async def test_forgetting_what_was_rated_takes_it_from_rows_and_streams_and_it_stays_away(
    pipeline: Pipeline,
) -> None:
    rated, other = (asked(pipeline).headers["x-request-id"] for _ in range(2))
    pipeline.wait_row(rated)
    own, kept = rate(pipeline, rated, 1, comment="moth"), rate(pipeline, other, 1)
    rows_of(pipeline, rated, 1)
    rows_of(pipeline, other, 1)
    told = pipeline.command("forget", rated, "--yes", timeout_s=300)
    assert told.returncode == 0, told.stdout + told.stderr
    left = {event["trace_id"] for event in await pipeline.messages()}
    assert left & {rated, own, kept} == {kept}
    late = rate(pipeline, rated, 5, comment="moth")
    marker = rate(pipeline, other, 2)
    assert {row["feedback_trace_id"] for row in rows_of(pipeline, other, 2)} == {kept, marker}
    assert pipeline.count("feedback", "feedback_trace_id = ANY(%s)", [own, late]) == 0


def test_feedback_that_is_forgotten_leaves_what_it_rates(pipeline: Pipeline) -> None:
    rated = asked(pipeline).headers["x-request-id"]
    pipeline.wait_row(rated)
    own = rate(pipeline, rated, 1)
    rows_of(pipeline, rated, 1)
    told = pipeline.command("forget", own, "--yes", timeout_s=300)
    assert told.returncode == 0, told.stdout + told.stderr
    rows_of(pipeline, rated, 0)
    assert pipeline.of("chat_pairs", rated)
