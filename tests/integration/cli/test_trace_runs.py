"""`appliance trace` and the runs of Dagster, from their rows and from Dagster's database."""

import json
import time
from dataclasses import replace
from pathlib import Path

from nats.js.api import ConsumerConfig

from appliance.config.parts import Parts, parts_file, write_parts
from appliance.domain.events.chat import PERSIST
from appliance.domain.events.durables import DURABLES, of_dagster
from appliance.domain.events.envelope import rfc3339
from appliance.domain.events.exchange import Feedback
from appliance.domain.events.lineage import LINEAGE
from appliance.infra.nats.reader.range import visit
from appliance.infra.postgres.pipeline_runs import RunPart, record
from appliance.infra.postgres.pool import PostgresPool
from tests.fakes.kept_events import Kept, Run, recent

RUN_ID = "3f2a9c1e-7f0e-4c1d-9d3e-5b1f6a2c4d5e"
# As much of Dagster's tables as is read; test_dagster_runs.py holds it to the real ones.
TABLES = (
    "CREATE TABLE runs (run_id text, status text, start_time float, end_time float)",
    "CREATE TABLE event_logs (run_id text, dagster_event_type text, timestamp timestamp,"
    " asset_key text)",
    f"INSERT INTO runs VALUES ('{RUN_ID}', 'SUCCESS', 1795000100.5, 1795000103)",
    f"INSERT INTO event_logs VALUES ('{RUN_ID}', 'ASSET_MATERIALIZATION',"
    " '2026-11-18 11:08:21.5', '[\"chat_record\"]')",
)


async def _ran(kept: Kept, trace_id: str) -> None:
    """A run that took the chat event of the exchange."""
    (found,) = kept.execute(
        "SELECT DISTINCT stream_sequence FROM chat_history WHERE trace_id = %s", trace_id
    )
    part = RunPart(RUN_ID, "knowledge_chat_persist", "chat_record", PERSIST, 1_795_000_100.25)
    async with PostgresPool(kept.dsn) as pool:
        taken = (int(str(found[0])),) * 2
        await record(pool, part, [taken], events=1, inserted=4, offered=5)


async def test_a_run_is_told_with_what_dagster_says_of_it(
    kept: Kept, appliance: Run, tmp_path: Path
) -> None:
    made, other = recent(1), recent(2)
    await kept.publish([made, other])
    await kept.consume()
    await _ran(kept, made.trace_id)
    for statement in TABLES:
        kept.execute(statement)
    with (tmp_path / "host.toml").open("a") as config:
        config.write('[dagster]\ndsn = "file:dsn"\n')
    state = tmp_path / "none"
    state.mkdir()
    running = Parts(gateway="http://127.0.0.1:1", dagster="http://127.0.0.1:3000")
    write_parts(parts_file(state), running)
    told = appliance("trace", made.trace_id, "--state", state)
    assert told.returncode == 0, told.stderr
    section = told.stdout.partition("\nruns\n")[2].splitlines()
    assert section[0] == "  3f2a9c1e  knowledge_chat_persist  2026-11-18T11:08:20  success"
    assert " ".join(" ".join(section[1:3]).split()) == (
        "chat_record 1 event: 4 rows written, 1 already there, materialised 11:08:21"
        f" http://127.0.0.1:3000/runs/{RUN_ID}"
    )
    (exchange,) = json.loads(appliance("trace", made.trace_id, "--json").stdout)["exchanges"]
    (run,) = exchange["runs"]
    assert (run["asset"], run["subject"], run["rows_written"]) == ("chat_record", PERSIST, 4)
    assert run["status"] == "SUCCESS"
    assert run["materialised_at"].startswith("2026-11-18T11:08:21.5")
    assert run["ended_at"].startswith("2026-11-18T11:08:23")
    page = tmp_path / "page.html"
    appliance("trace", made.trace_id, "--state", state, "--html", page)
    assert f"/runs/{RUN_ID}</a>" in page.read_text()
    nobody = appliance("trace", other.trace_id)
    assert "\nruns\n  no run of Dagster has recorded it\n" in nobody.stdout


async def test_a_run_dagster_has_forgotten_is_told_as_far_as_we_know_it(
    kept: Kept, appliance: Run
) -> None:
    made = recent(1)
    await kept.publish([made])
    await kept.consume()
    await _ran(kept, made.trace_id)
    told = appliance("trace", made.trace_id)
    assert told.returncode == 0, told.stderr
    assert "knowledge_chat_persist  2026-11-18T11:08:20  state not known" in told.stdout
    assert "4 rows written, 1 already there" in told.stdout
    assert "not looked at: Dagster keeps nothing in its database" in told.stdout


async def test_what_dagster_has_acked_is_consumed_though_no_consumer_runs(
    kept: Kept, appliance: Run
) -> None:
    made = recent(1)
    await kept.publish([made])
    await kept.consume()
    async with visit(kept.server.config) as client:
        js = client.jetstream()
        for durable in map(of_dagster, DURABLES.values()):
            config = ConsumerConfig(filter_subject=durable.subject)
            pull = await js.pull_subscribe(
                durable.subject, durable.name, stream="PIPELINE", config=config
            )
            if durable.subject != LINEAGE:
                for message in await pull.fetch((await pull.consumer_info()).num_pending or 1):
                    await message.ack_sync()
    (exchange,) = json.loads(appliance("trace", made.trace_id, "--json").stdout)["exchanges"]
    taken = {event["subject"]: event for event in exchange["events"] if event["consumer"]}
    assert set(taken) == set(DURABLES)
    for subject, event in taken.items():
        assert event["consumer"] == of_dagster(DURABLES[subject]).name
        assert event["acked"] is (subject != LINEAGE), subject
    assert "the consumer took its events" not in appliance("trace", made.trace_id).stdout


async def test_the_rating_of_an_exchange_is_told_with_its_comment_and_when(
    kept: Kept, appliance: Run
) -> None:
    rated = replace(recent(1), feedback=None)
    rates = replace(
        recent(2),
        operation="feedback",
        occurred_at=time.time(),
        feedback=Feedback(rated.trace_id, -3, "not\x1b[31m what I asked"),
    )
    await kept.publish([rated, rates])
    await kept.consume()
    told = appliance("trace", rated.trace_id)
    assert told.returncode == 0, told.stderr
    said = " ".join(told.stdout.partition("  feedback ")[2].partition("\nevents\n")[0].split())
    assert said.startswith("-3 ")
    assert rfc3339(rates.occurred_at)[:19] in said
    assert said.endswith("not�[31m what I asked")
