"""What `/ready`, `appliance trace` and the rows say while a part is away, and once it is back."""

import asyncio
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest
from nats.js.api import RetentionPolicy

from appliance.infra.postgres.migrate import migrate
from tests.e2e.asking import error_of, question
from tests.fakes.answers import chat
from tests.fakes.inference import ScriptedInference
from tests.fakes.pipeline import Pipeline
from tests.fakes.postgres import Cluster
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fixtures_nats import NatsServer


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A PostgreSQL of the test's own: it is stopped."""
    (tmp_path / "cluster").mkdir()
    made = Cluster(tmp_path / "cluster")
    try:
        asyncio.run(made.create())
        yield made
    finally:
        made.stop()


def rig(
    tmp_path: Path, backend: ScriptedBackend, server: NatsServer, dsn: str, spool: str = ""
) -> Pipeline:
    backend.forget()
    backend.script("scripted", chat("as asked"))
    return Pipeline(tmp_path / "rig", backend.base_url, server, dsn, spool=spool)


def places(pipeline: Pipeline, trace_id: str, tmp_path: Path) -> tuple[set[str], str]:
    """Where `appliance trace` has the events of the pipeline, and what it says it did not look at;
    as JSON, which text and page agree with."""
    told = pipeline.command("trace", trace_id, "--json")
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    (exchange,) = answer["exchanges"]
    found = set(exchange["places"])
    text = pipeline.command("trace", trace_id).stdout
    page = tmp_path / "page.html"
    assert pipeline.command("trace", trace_id, "--html", str(page)).returncode == 0
    for place in found:
        assert place in " ".join(text.split())
        assert place in page.read_text()
    return found, "; ".join(answer["unseen"])


def test_trace_says_where_an_exchange_is_from_the_spool_to_its_rows_whatever_is_away(
    tmp_path: Path, backend: ScriptedBackend, nats_server: NatsServer, cluster: Cluster
) -> None:
    dsn = cluster.create_database()
    asyncio.run(migrate(dsn))
    with rig(tmp_path, backend, nats_server, dsn) as pipeline:
        consumer = pipeline.consumer
        assert consumer is not None
        first = pipeline.ask(question())
        pipeline.wait_row(first)
        consumer.stop()
        nats_server.kill()
        second = pipeline.ask(question())
        found, unseen = places(pipeline, second, tmp_path)
        assert found == {"in the spool, not yet in the stream"}
        assert "NATS" in unseen
        assert places(pipeline, first, tmp_path)[0] == {"in PostgreSQL"}

        cluster.stop()
        gone = pipeline.command("trace", first)
        assert gone.returncode == 1
        assert "PostgreSQL" in gone.stderr
        assert "NATS" in gone.stderr

        nats_server.start()
        pipeline.until(lambda: "nats" not in pipeline.ready(), pipeline.ready)
        pipeline.until(
            lambda: places(pipeline, second, tmp_path)[0] == {"in the stream, not yet consumed"}
        )
        # It has rows, which nobody can look at now: that is not "without a row".
        found, unseen = places(pipeline, first, tmp_path)
        assert found == {"in the stream, consumed; its rows were not looked at"}
        assert "PostgreSQL" in unseen

        cluster.start()
        consumer.start()
        pipeline.wait_row(second)
        for trace_id in (first, second):
            assert places(pipeline, trace_id, tmp_path) == ({"in PostgreSQL"}, "")
        unknown = pipeline.command("trace", "nobody's")
        assert (unknown.returncode, unknown.stdout) == (1, "")


def test_a_consumer_that_comes_before_nats_and_before_the_tables_says_so_and_goes_on(
    tmp_path: Path, backend: ScriptedBackend, nats_server: NatsServer, fresh_dsn: str
) -> None:
    nats_server.kill()
    with rig(tmp_path, backend, nats_server, fresh_dsn) as pipeline:
        consumer = pipeline.consumer
        assert consumer is not None
        pipeline.until(lambda: "nats" in pipeline.ready(consumer.url))
        asked = pipeline.ask(question())
        assert pipeline.ready()["nats"].endswith("events wait in the spool")

        nats_server.start()
        pipeline.until(
            lambda: "appliance migrate" in pipeline.ready(consumer.url).get("durables", ""),
            lambda: pipeline.ready(consumer.url),
        )
        asyncio.run(migrate(fresh_dsn))
        pipeline.wait_row(asked)
        pipeline.until(lambda: not pipeline.ready(consumer.url))
        assert not pipeline.letters()


def test_a_gateway_with_a_wrong_token_serves_says_so_and_loses_nothing(
    tmp_path: Path, backend: ScriptedBackend, nats_server: NatsServer, dsn: str
) -> None:
    pipeline = rig(tmp_path, backend, nats_server, dsn)
    (pipeline.folder / "token").write_text(secrets.token_hex(8))
    with pipeline:
        asked = [pipeline.ask(question(stream=stream)) for stream in (False, True)]
        pipeline.until(lambda: "Authorization Violation" in pipeline.ready()["nats"])
        pipeline.gateway.stop()
        (pipeline.folder / "token").write_text(nats_server.config.token)
        pipeline.gateway.start()
        for trace_id in asked:
            pipeline.wait_row(trace_id)


def test_a_stream_that_cannot_be_used_is_named_waited_for_and_shipped_to_once_it_is_gone(
    tmp_path: Path, backend: ScriptedBackend, nats_server: NatsServer, dsn: str
) -> None:
    async def act(create: bool) -> None:
        client = await nats.connect(nats_server.config.url, token=nats_server.config.token)
        js = client.jetstream()
        if create:
            queue = RetentionPolicy.WORK_QUEUE
            await js.add_stream(name="PIPELINE", subjects=["pipeline.>"], retention=queue)
        else:
            await js.delete_stream("PIPELINE")
        await client.close()

    asyncio.run(act(create=True))
    with rig(tmp_path, backend, nats_server, dsn) as pipeline:
        consumer = pipeline.consumer
        assert consumer is not None
        asked = [pipeline.ask(question(stream=stream)) for stream in (False, True)]
        pipeline.until(lambda: "retention workqueue" in pipeline.ready().get("nats", ""))
        pipeline.until(lambda: "streams" in pipeline.ready(consumer.url))
        assert pipeline.ready()["nats"].endswith("events wait in the spool")
        asyncio.run(act(create=False))
        for trace_id in asked:
            pipeline.wait_row(trace_id)
        pipeline.until(lambda: not pipeline.ready().get("nats"), pipeline.ready)
        pipeline.until(lambda: not pipeline.ready(consumer.url))


def test_where_nothing_can_be_kept_and_must_be_every_surface_refuses(
    tmp_path: Path, backend: ScriptedBackend, nats_server: NatsServer, dsn: str
) -> None:
    nats_server.kill()
    with ScriptedInference() as inference:
        made = rig(
            tmp_path,
            backend,
            nats_server,
            dsn,
            f'max_bytes = 65536\nwhen_full = "refuse"\n[inference]\nurl = "{inference.url}"\n',
        )
        with made as pipeline:
            kept = []
            while (answer := pipeline.post(question("x" * 5000))).status_code == 200:
                kept.append(answer.headers["x-request-id"])
            error_of(answer, 503)
            large = "y" * 5000
            talk = {"model": "scripted", "max_tokens": 9, "messages": question(large)["messages"]}
            assert pipeline.post(talk, "/v1/messages").status_code == 503
            prompt = {"model": "scripted", "prompt": large}
            error_of(pipeline.post(prompt, "/v1/completions"), 503)
            error_of(pipeline.post({"input": large}, "/v1/embeddings"), 503)
            rating = {"trace_id": kept[0], "rating": 1, "comment": large}
            error_of(pipeline.post(rating, "/v1/feedback"), 503)
            pipeline.until(
                lambda: (
                    pipeline.post(question("x" * 5000)).status_code == 503
                    and "full" in pipeline.ready().get("spool", "")
                )
            )
            nats_server.start()
            for trace_id in kept:
                pipeline.wait_row(trace_id)
            pipeline.until(lambda: pipeline.post(question("x" * 5000)).status_code == 200)
