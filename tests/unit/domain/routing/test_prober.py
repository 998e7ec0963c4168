import asyncio

import pytest

from appliance.domain.chat.ports import ModelCard
from appliance.domain.errors import BackendUnavailable
from appliance.domain.routing.directory import ModelDirectory
from appliance.domain.routing.health import EjectionPolicy, Health
from appliance.domain.routing.prober import Prober
from tests.fakes.chat_backend import FakeBackend

SMALL = ModelCard("small", "small")
GONE = BackendUnavailable("backend a: refused", backend="a")


class Probed:
    """Two backends under a prober whose pauses are stepped through by the test."""

    def __init__(self, *sparingly: str) -> None:
        self.backends = {name: FakeBackend(name, listed=[SMALL]) for name in ("a", "b")}
        self.directory = ModelDirectory(self.backends, ttl_s=3600.0, clock=lambda: 0.0)
        self.health = Health(self.backends, EjectionPolicy(2, 30.0), clock=lambda: 0.0)
        self.prober = Prober(self.directory, self.health, list(self.backends), sparingly=sparingly)
        self.pauses: list[float] = []

    async def run(self, rounds: int) -> None:
        """The first round and as many as asked for after it."""

        async def pause(for_s: float) -> None:
            self.pauses.append(for_s)
            if len(self.pauses) > rounds:
                raise asyncio.CancelledError

        self.pauses.clear()
        with pytest.raises(asyncio.CancelledError):
            await self.prober.run(10.0, pause)

    @property
    def probes(self) -> list[int]:
        return [b.probes for b in self.backends.values()]


async def test_every_backend_is_probed_in_each_round_however_fresh_its_listing_is() -> None:
    probed = Probed()
    await probed.run(rounds=3)
    assert probed.probes == [4, 4]
    assert probed.pauses == [10.0] * 4


async def test_a_probe_is_a_listing() -> None:
    probed = Probed()
    await probed.run(rounds=0)
    probed.backends["a"].listed = [ModelCard("new", "new")]
    await probed.run(rounds=0)
    assert [c.name for c in await probed.directory.cards("a")] == ["new"]
    assert probed.probes == [2, 2]


async def test_a_dead_backend_is_ejected_without_a_request_and_returns_with_a_good_probe() -> None:
    probed = Probed()
    probed.backends["a"].listed = GONE
    await probed.run(rounds=0)
    assert probed.health.gauge() == {"a": 0.0, "b": 0.0}
    await probed.run(rounds=0)
    assert probed.health.gauge() == {"a": 1.0, "b": 0.0}
    probed.backends["a"].listed = [SMALL]
    await probed.run(rounds=0)
    assert probed.health.gauge() == {"a": 0.0, "b": 0.0}


async def test_a_hosted_backend_is_left_alone_while_it_is_well() -> None:
    probed = Probed("a")
    await probed.run(rounds=5)
    assert probed.probes == [1, 6]


async def test_a_hosted_backend_is_probed_while_it_is_ejected_or_its_last_probe_failed() -> None:
    probed = Probed("a")
    await probed.run(rounds=0)
    probed.health.request_failed("a", GONE)
    await probed.run(rounds=2)
    assert probed.probes[0] == 2, "one failed request is no ejection"
    probed.health.request_failed("a", GONE)
    await probed.run(rounds=2)
    assert probed.probes[0] == 2 + 3
    probed.health.request_succeeded("a")
    probed.health.probed("a", GONE)
    await probed.run(rounds=2)
    assert probed.probes[0] == 5 + 1, "the first probe was good"


async def test_a_client_with_a_fault_counts_as_failed_and_does_not_end_the_probing() -> None:
    probed = Probed()
    probed.backends["a"].listed = TypeError("a fault of ours")
    await probed.run(rounds=2)
    assert probed.probes == [3, 3]
    assert probed.health.gauge()["a"] == 1.0
    found = probed.health.ejected_for("a")
    assert found is not None
    assert "BackendProtocolError" in found[1]


async def test_probes_of_a_round_run_at_once() -> None:
    probed = Probed()
    waiting = asyncio.Barrier(3)

    class Slow(FakeBackend):
        async def models(self) -> list[ModelCard]:
            await waiting.wait()  # lets go when both ask
            return [SMALL]

    directory = ModelDirectory(
        {name: Slow(name) for name in ("a", "b")}, ttl_s=1.0, clock=lambda: 0.0
    )
    round_ = asyncio.ensure_future(Prober(directory, probed.health, ["a", "b"]).round(["a", "b"]))
    await asyncio.wait_for(waiting.wait(), timeout=60.0)
    await round_


async def test_cancelling_ends_it() -> None:
    probed = Probed()
    probed.backends["b"].probe_s = 60.0
    running = asyncio.ensure_future(probed.prober.run(10.0))
    while not probed.backends["b"].probes:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
