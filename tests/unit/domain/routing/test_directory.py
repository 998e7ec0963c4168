import asyncio

import pytest

from appliance.domain.chat.ports import ModelCard
from appliance.domain.errors import BackendUnavailable
from appliance.domain.routing.directory import ModelDirectory
from tests.fakes.chat_backend import FakeBackend

SMALL, LARGE = ModelCard("small", "/models/small.gguf", 2048), ModelCard("large", "large")
DOWN = BackendUnavailable("backend local: refused", backend="local")


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend(listed=[SMALL, LARGE])


@pytest.fixture
def directory(backend: FakeBackend, hand: Hand) -> ModelDirectory:
    return ModelDirectory({"local": backend}, ttl_s=30.0, clock=hand)


async def test_a_listing_is_kept_for_its_ttl(
    directory: ModelDirectory, backend: FakeBackend, hand: Hand
) -> None:
    assert await directory.cards("local") == [SMALL, LARGE]
    hand.now += 29.9
    backend.listed = [LARGE]
    assert await directory.cards("local") == [SMALL, LARGE]
    assert backend.probes == 1
    hand.now += 0.1
    assert await directory.cards("local") == [LARGE]
    assert backend.probes == 2


async def test_a_failed_probe_keeps_the_last_list_and_says_why(
    directory: ModelDirectory, backend: FakeBackend, hand: Hand
) -> None:
    await directory.refresh()
    assert await directory.problem("local") == ""
    backend.listed = DOWN
    hand.now += 30
    assert await directory.cards("local") == [SMALL, LARGE]
    assert await directory.problem("local") == "backend local: refused"


async def test_a_failed_probe_is_tried_again_sooner(
    directory: ModelDirectory, backend: FakeBackend, hand: Hand
) -> None:
    backend.listed = DOWN
    assert await directory.cards("local") == []
    backend.listed = [SMALL]
    hand.now += 0.4
    assert await directory.cards("local") == []
    hand.now += 0.1
    assert await directory.cards("local") == [SMALL]
    assert await directory.problem("local") == ""


async def test_concurrent_callers_share_one_probe(
    directory: ModelDirectory, backend: FakeBackend
) -> None:
    backend.probe_s = 0.02
    lists = await asyncio.gather(*(directory.cards("local") for _ in range(20)))
    assert lists == [[SMALL, LARGE]] * 20
    assert backend.probes == 1


async def test_a_caller_that_leaves_does_not_take_the_probe_of_the_others(
    directory: ModelDirectory, backend: FakeBackend
) -> None:
    backend.probe_s = 0.02
    leaver = asyncio.ensure_future(directory.cards("local"))
    other = asyncio.ensure_future(directory.cards("local"))
    await asyncio.sleep(0)
    leaver.cancel()
    assert await other == [SMALL, LARGE]
    assert leaver.cancelled()


async def test_backends_are_probed_at_once(hand: Hand) -> None:
    backends = {n: FakeBackend(n, listed=[SMALL], probe_s=1.0) for n in ("a", "b", "c", "d")}
    directory = ModelDirectory(backends, ttl_s=30.0, clock=hand)
    started = asyncio.get_running_loop().time()
    await directory.refresh()
    assert asyncio.get_running_loop().time() - started < 4 * 1.0
    assert [b.probes for b in backends.values()] == [1, 1, 1, 1]


async def test_known_answers_from_the_last_list_without_probing(
    directory: ModelDirectory, backend: FakeBackend, hand: Hand
) -> None:
    assert directory.known("local", "small") is None
    await directory.refresh()
    hand.now += 3600
    assert directory.known("local", "small") == SMALL
    assert directory.known("local", "/models/small.gguf") == SMALL
    assert directory.known("local", "other") is None
    assert directory.known("elsewhere", "small") is None
    assert backend.probes == 1


async def test_a_probe_asks_however_fresh_the_listing_is_and_renews_it(
    directory: ModelDirectory, backend: FakeBackend
) -> None:
    await directory.refresh()
    backend.listed = [LARGE]
    assert await directory.probe("local") is None
    assert await directory.cards("local") == [LARGE]
    assert backend.probes == 2


async def test_a_probe_that_fails_tells_why(
    directory: ModelDirectory, backend: FakeBackend
) -> None:
    await directory.refresh()
    backend.listed = DOWN
    assert await directory.probe("local") is DOWN
    assert await directory.problem("local") == "backend local: refused"
    assert await directory.cards("local") == [SMALL, LARGE]


async def test_a_probe_that_is_under_way_is_shared(
    directory: ModelDirectory, backend: FakeBackend
) -> None:
    backend.probe_s = 0.02
    await asyncio.gather(directory.probe("local"), directory.cards("local"), directory.refresh())
    assert backend.probes == 1
    await asyncio.gather(directory.probe("local"), directory.probe("local"))
    assert backend.probes == 2


async def test_the_version_changes_with_what_is_listed_alone(
    directory: ModelDirectory, backend: FakeBackend
) -> None:
    await directory.refresh()
    first = directory.version
    await directory.probe("local")
    backend.listed = DOWN
    await directory.probe("local")
    assert directory.version == first
    backend.listed = [SMALL]
    await directory.probe("local")
    assert directory.version != first
