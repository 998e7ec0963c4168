import asyncio
from collections.abc import Awaitable, Callable

from appliance.domain.chat.ports import ModelCard
from appliance.domain.errors import BackendUnavailable, PartUnavailable
from appliance.domain.routing.directory import ModelDirectory
from appliance.domain.routing.health import EjectionPolicy, Health
from appliance.entrypoints.readiness import CHECK_TIMEOUT_S, Readiness
from tests.fakes.chat_backend import FakeBackend

UP = FakeBackend("up", listed=[ModelCard("m", "m")])
DOWN = FakeBackend("down", listed=BackendUnavailable("backend down: refused", backend="down"))


async def fine() -> None:
    """A part that works."""


async def broken() -> None:
    raise PartUnavailable("not connected", part="nats")


async def frozen() -> None:
    await asyncio.sleep(60)


def readiness(
    *backends: FakeBackend, health: Health | None = None, **checks: Callable[[], Awaitable[None]]
) -> Readiness:
    named = {b.name: b for b in backends}
    directory = ModelDirectory(named, ttl_s=60, clock=lambda: 0.0)
    return Readiness(list(named), directory, checks, health, wall=lambda: 1_800_000_000.0)


async def test_all_well_is_ready() -> None:
    assert await readiness(UP, nats=fine).report() == (
        True,
        {"status": "ready", "degraded": [], "parts": {"nats": "ok"}, "backends": {"up": "ok"}},
    )


async def test_one_backend_that_answers_is_enough_and_parts_are_named() -> None:
    ready, body = await readiness(UP, DOWN, spool=broken, nats=broken, inference=fine).report()
    assert (ready, body["status"], body["degraded"]) == (True, "degraded", ["nats", "spool"])
    assert body["parts"] == {"spool": "not connected", "nats": "not connected", "inference": "ok"}
    assert body["backends"] == {"up": "ok", "down": "backend down: refused"}


async def test_without_a_backend_that_answers_it_is_not_ready() -> None:
    for one in (readiness(DOWN, nats=fine), readiness(nats=fine)):
        ready, body = await one.report()
        assert (ready, body["status"]) == (False, "unavailable")


async def test_frozen_parts_are_asked_at_once_and_given_up_on() -> None:
    started = asyncio.get_running_loop().time()
    ready, body = await readiness(UP, nats=frozen, postgres=frozen).report()
    assert asyncio.get_running_loop().time() - started < 2 * CHECK_TIMEOUT_S
    assert (ready, body["degraded"]) == (True, ["nats", "postgres"])
    assert "no answer within 2 s" in body["parts"]["nats"]


def ejected(*names: str, by_probes: bool = False) -> Health:
    """A Health of `up`, `other` and `down` in which `names` have failed just now."""
    health = Health(("up", "other", "down"), EjectionPolicy(1, 30.0), clock=lambda: 0.0)
    for name in names:
        error = BackendUnavailable("refused", backend=name)
        if by_probes:
            health.probed(name, error)
        else:
            health.request_failed(name, error)
    return health


OTHER = FakeBackend("other", listed=[ModelCard("m", "m")])


async def test_an_ejected_backend_is_named_with_the_time_it_returns() -> None:
    ready, body = await readiness(UP, OTHER, health=ejected("other")).report()
    assert (ready, body["status"], body["degraded"]) == (True, "ready", [])
    assert body["backends"] == {
        "up": "ok",
        "other": "ejected until 2027-01-15T08:00:30Z: 1 failure, the last: BackendUnavailable",
    }


async def test_a_gateway_whose_backends_are_all_ejected_still_serves_and_says_so() -> None:
    ready, body = await readiness(UP, OTHER, health=ejected("up", "other")).report()
    assert (ready, body["status"], body["degraded"]) == (True, "degraded", ["backends"])


async def test_a_backend_that_is_not_there_is_told_as_its_probe_failed() -> None:
    ready, body = await readiness(UP, DOWN, health=ejected("down")).report()
    assert (ready, body["backends"]["down"]) == (True, "backend down: refused")


async def test_an_ejection_that_a_probe_ends_has_no_time() -> None:
    _, body = await readiness(UP, OTHER, health=ejected("other", by_probes=True)).report()
    assert body["backends"]["other"] == (
        "ejected until a request or a probe succeeds: 1 failure, the last: BackendUnavailable"
    )


async def test_without_a_required_part_nothing_can_be_served() -> None:
    directory = ModelDirectory({"up": UP}, ttl_s=60, clock=lambda: 0.0)
    needs = Readiness(["up"], directory, {"spool": broken, "nats": fine}, required=("spool",))
    ready, body = await needs.report()
    assert (ready, body["status"], body["degraded"]) == (False, "unavailable", ["spool"])
