"""Dagster's UI in a real browser, after a conversation held through the gateway: what a person sees
there, and what a page of somebody else does not.

The pictures are kept: build/artefacts/dagster, or $APPLIANCE_ARTEFACTS/dagster.
"""

from pathlib import Path

import pytest

from tests.e2e.dagster.asking import Talk
from tests.e2e.dagster.rows import Rows, wait_taken
from tests.e2e.faults.faulty import Faulty
from tests.fakes.appliance import Appliance
from tests.fakes.browser import Browser
from tests.fakes.dagster_instance import DagsterInstance

# Of these the conversation has events; nobody rated it, and its pairs are no dataset yet.
MADE = (
    "chat_record",
    "chat_pair_record",
    "compose_record",
    "embedding_record",
    "flow_lineage",
    "knowledge_events",
    "retrieve_record",
    "tool_call_record",
)
ALL = (*MADE, "chat_pair_dataset", "feedback_record")
# The whole graph, its groups open: what lies outside of the window is not drawn.
GRAPH = "asset-groups?expanded=" + ",".join(
    f"global@global:{group}" for group in ("events", "knowledge", "datasets")
)
GRAPH_WINDOW = (2000, 3500)
PAGE_WINDOW = (1600, 2300)
# What a page may try, as bodies of async functions of a URL.
READ = """
  const asked = {method: "POST", body: '{"query": "{ version }"}',
                 headers: {"content-type": "application/json"}};
  return (await fetch(`${values[0]}/graphql`, asked)).status;"""
SEND = "await fetch(values[0], {method: 'POST', mode: 'no-cors', body: 'x'});"
LISTEN = """
  const socket = new WebSocket(`${values[0].replace("http", "ws")}/graphql`, "graphql-ws");
  return await new Promise(done => {
    socket.onopen = () => done("open"); socket.onerror = () => done("refused"); });"""
# The browser comes first: where there can be none, nothing else need be started.  It may have to be
# installed.
pytestmark = [pytest.mark.usefixtures("chromium"), pytest.mark.timeout(600)]


@pytest.fixture
def seen(appliance: Faulty, talk: Talk, dagster: DagsterInstance, browser: Browser) -> Browser:
    """The browser, once Dagster has made everything of the conversation."""
    Rows(appliance.dsn).wait("chat_pairs", talk.traces)
    wait_taken(appliance.nats)
    dagster.until(lambda: all(dagster.materialisations(asset) for asset in MADE))
    dagster.until(lambda: not dagster.under_way(), dagster.under_way)
    return browser


def said_of(text: str, asset: str) -> list[str]:
    """The lines of a list of assets from that of `asset` to the next one's."""
    lines = text.splitlines()
    if asset not in lines:
        return []
    after = lines[lines.index(asset) + 1 :]
    end = next((n for n, line in enumerate(after) if line in ALL and line != asset), len(after))
    return after[:end]


def test_the_catalog_shows_every_asset_materialised(
    seen: Browser, dagster: DagsterInstance, artefacts: Path
) -> None:
    seen.open(f"{dagster.url}/assets")
    seen.wait_text(lambda text: all("Materialized" in said_of(text, asset) for asset in MADE))
    seen.picture(artefacts / "catalog.png")
    assert seen.asked() == {dagster.url.removeprefix("http://")}


def test_the_graph_shows_how_they_hang_together_and_their_checks_passed(
    seen: Browser, dagster: DagsterInstance, artefacts: Path
) -> None:
    seen.open(f"{dagster.url}/{GRAPH}", GRAPH_WINDOW)
    checked = {asset: len(dagster.checks(asset)) for asset in MADE}

    def whole(text: str) -> bool:
        return all(
            "Materialized" in said_of(text, asset)
            and (not count or f"{count} / {count} Passed" in said_of(text, asset))
            for asset, count in checked.items()
        )

    seen.wait_text(whole)
    seen.picture(artefacts / "lineage.png")
    assert checked["chat_record"] >= 2
    assert checked["flow_lineage"] >= 3


def test_the_page_of_an_asset_shows_what_was_written_and_its_checks_green(
    seen: Browser, dagster: DagsterInstance, artefacts: Path
) -> None:
    (newest, *_) = dagster.materialisations("chat_record")
    seen.open(f"{dagster.url}/assets/chat_record", PAGE_WINDOW)
    wanted = ("rows_written", "rows_already_there", "chat_pairs/rows_written", "preview")
    text = seen.wait_text(lambda text: all(label in text.splitlines() for label in wanted))
    lines = text.splitlines()
    for label in wanted[:3]:
        assert str(newest.metadata[label]) in lines[lines.index(label) + 1 :][:3], text
    seen.picture(artefacts / "chat_record.png")

    checks = dagster.checks("chat_record")
    seen.open(f"{dagster.url}/assets/chat_record?view=checks")
    text = seen.wait_text(lambda text: text.count("Succeeded") >= len(checks))
    assert all(name in text for name in checks)
    assert "Failed" not in text
    seen.picture(artefacts / "chat_record_checks.png")


def test_a_page_of_another_origin_can_neither_ask_nor_listen(
    seen: Browser, running: Appliance, dagster: DagsterInstance
) -> None:
    """The gateway's address is another origin: another port is enough.  What it could do is shown
    by Dagster's own page."""
    sensor = "nats_dagster_feedback"
    seen.open(f"{running.url}/healthz")
    assert "failed" in seen.run(READ, dagster.url)
    seen.run(SEND, dagster.stopping(sensor))
    assert dagster.is_running(sensor)
    assert seen.run(LISTEN, dagster.url) == "refused"

    seen.open(f"{dagster.url}/assets")
    assert seen.run(READ, dagster.url) == 200
    assert seen.run(LISTEN, dagster.url) == "open"
    seen.run(SEND, dagster.stopping(sensor))
    assert not dagster.is_running(sensor)
    dagster.start_sensor(sensor)
