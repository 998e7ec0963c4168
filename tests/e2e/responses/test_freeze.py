"""A gateway that stands still for longer than its leases last: a machine that was suspended, a
container that was paused."""

import signal
from threading import Event

import pytest

from tests.e2e.responses.asking import ask, get, replay, streamed, text_of
from tests.e2e.responses.conftest import State
from tests.fakes.actions import Gate, after_chunks
from tests.fakes.answers import chat
from tests.fakes.deliveries import rows
from tests.fakes.gateway import GatewayProcess
from tests.fakes.scripted_backend import ScriptedBackend
from tests.fakes.until import until

WORDS = [f"word{n} " for n in range(30)]
FREEZES = 5  # whether it looks for orphans or renews first when it goes on is chance
_LEASED = "SELECT count(*) FROM api_responses WHERE lease_until > now()"


@pytest.fixture(scope="module")
def lease_s() -> float:
    """Short: there is no other gateway that could take a slow one for dead."""
    return 1.0


def test_what_a_frozen_gateway_produces_goes_on_with_it(
    state: State, backend: ScriptedBackend
) -> None:
    one, go = state.start(), Event()
    backend.forget()
    backend.queue(*(after_chunks(3, Gate(go), chat(WORDS)) for _ in range(2)))
    background = ask(one, background=True)
    with streamed(one) as events:
        response_id = next(events)["response"]["id"]
        for _ in range(FREEZES):
            _freeze(one, state.dsn)
        assert rows(state.dsn, "SELECT id FROM api_responses WHERE cancel_asked") == []
        go.set()
        whole = list(events)[-1]
    assert (whole["type"], whole["response"]["store"]) == ("response.completed", True)
    assert get(one, response_id) == whole["response"]
    until(lambda: get(one, background["id"])["status"] == "completed")
    for each in (response_id, background["id"]):
        assert text_of(get(one, each)) == "".join(WORDS)
        assert replay(one, each)[-1]["type"] == "response.completed"


def _freeze(gateway: GatewayProcess, dsn: str) -> None:
    """Until both leases have run out; it goes on until both are renewed."""
    until(lambda: rows(dsn, _LEASED) == [(2,)])
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: rows(dsn, _LEASED) == [(0,)])
    finally:
        gateway.process.send_signal(signal.SIGCONT)
    until(lambda: rows(dsn, _LEASED) == [(2,)])
