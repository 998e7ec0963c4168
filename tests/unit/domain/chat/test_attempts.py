import time

import pytest

from appliance.domain.chat.attempts import Attempts, RetryPolicy
from appliance.domain.errors import (
    BackendBusy,
    BackendError,
    BackendProtocolError,
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
)
from appliance.domain.events.exchange import Attempt
from appliance.domain.routing.candidate import Candidate
from appliance.domain.routing.health import EjectionPolicy, Health

FIRST, SECOND = Candidate("first", "m1"), Candidate("second", "m2")


def refused(status: int) -> BackendRefused:
    return BackendRefused("no", backend="first", status=status)


UNAVAILABLE = BackendUnavailable("gone", backend="first")
TIMEOUT = BackendTimeout("slow", backend="first")
PROTOCOL = BackendProtocolError("nonsense", backend="first")
BUSY = BackendBusy("full", backend="first", retry_after_s=1.0)

PASSING = [UNAVAILABLE, refused(502), refused(503), refused(504)]
HANDED_ON = [TIMEOUT, PROTOCOL, BUSY, refused(408), refused(429), refused(500), refused(501)]
FINAL = [refused(400), refused(401), refused(403), refused(404), refused(409), refused(422)]


def named(error: BackendError) -> str:
    return f"{type(error).__name__} {getattr(error, 'status', '')}".strip()


class Clock:
    """Seconds since the arrival of the request, as the test says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def attempts(
    *candidates: Candidate,
    retries: int = 2,
    backoff_s: float = 0.001,
    clock: Clock | None = None,
    health: Health | None = None,
) -> Attempts:
    policy = RetryPolicy(retries, backoff_s)
    return Attempts(candidates or (FIRST, SECOND), policy, clock or Clock(), health)


@pytest.mark.parametrize("error", PASSING, ids=named)
async def test_a_passing_failure_is_retried_before_it_is_handed_on(error: BackendError) -> None:
    trying = attempts(retries=2)
    visited = []
    for _ in range(3):
        await trying.after(error, content_seen=False)
        visited.append(trying.current)
    assert visited == [FIRST, FIRST, SECOND]


@pytest.mark.parametrize("error", HANDED_ON, ids=named)
async def test_a_failure_that_would_stay_goes_to_the_next_backend_at_once(
    error: BackendError,
) -> None:
    trying = attempts(backoff_s=5.0)
    started = time.monotonic()
    await trying.after(error, content_seen=False)
    assert trying.current == SECOND
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("error", FINAL, ids=named)
async def test_a_refusal_of_the_request_itself_is_final(error: BackendError) -> None:
    trying = attempts()
    with pytest.raises(BackendRefused) as raised:
        await trying.after(error, content_seen=False)
    assert raised.value is error
    assert trying.current == FIRST


@pytest.mark.parametrize("error", [*PASSING, *HANDED_ON, *FINAL], ids=named)
async def test_nothing_is_tried_again_once_content_was_seen(error: BackendError) -> None:
    trying = attempts()
    with pytest.raises(BackendError) as raised:
        await trying.after(error, content_seen=True)
    assert raised.value is error
    assert trying.current == FIRST


@pytest.mark.parametrize("error", HANDED_ON, ids=named)
async def test_the_only_backend_is_tried_once_where_a_retry_would_not_help(
    error: BackendError,
) -> None:
    with pytest.raises(BackendError) as raised:
        await attempts(FIRST).after(error, content_seen=False)
    assert raised.value is error


async def test_the_last_backends_error_is_the_one_told() -> None:
    trying = attempts(retries=0)
    await trying.after(UNAVAILABLE, content_seen=False)
    last = BackendTimeout("the second one", backend="second")
    with pytest.raises(BackendTimeout, match="the second one"):
        await trying.after(last, content_seen=False)


async def test_every_backend_has_its_own_retries() -> None:
    trying = attempts(retries=1)
    visited = []
    for _ in range(3):
        await trying.after(UNAVAILABLE, content_seen=False)
        visited.append(trying.current)
    assert visited == [FIRST, SECOND, SECOND]
    with pytest.raises(BackendUnavailable):
        await trying.after(UNAVAILABLE, content_seen=False)


async def test_pauses_double() -> None:
    trying = attempts(FIRST, retries=3, backoff_s=0.02)
    pauses = []
    for _ in range(3):
        started = time.monotonic()
        await trying.after(UNAVAILABLE, content_seen=False)
        pauses.append(time.monotonic() - started)
    for pause, least in zip(pauses, (0.02, 0.04, 0.08), strict=True):
        assert pause >= least * 0.95


async def test_what_was_tried_is_remembered_in_order() -> None:
    trying = attempts(retries=1)
    await trying.after(refused(503), content_seen=False)
    await trying.after(UNAVAILABLE, content_seen=False)
    trying.succeeded()
    assert [(a.backend, a.model, a.outcome) for a in trying.tried] == [
        ("first", "m1", "BackendRefused 503"),
        ("first", "m1", "BackendUnavailable"),
        ("second", "m2", "ok"),
    ]


async def test_a_failure_that_ends_it_is_remembered_too() -> None:
    trying = attempts(FIRST, retries=0)
    with pytest.raises(BackendTimeout):
        await trying.after(TIMEOUT, content_seen=True)
    assert [a.outcome for a in trying.tried] == ["BackendTimeout"]


async def test_each_try_says_when_it_began_and_how_long_it_took() -> None:
    clock = Clock()
    trying = attempts(clock=clock, retries=0)
    clock.now = 1.0
    trying.begin()
    clock.now = 1.5  # a slot came free
    trying.asking()
    clock.now = 3.0
    await trying.after(UNAVAILABLE, content_seen=False)
    clock.now = 4.0
    trying.begin()
    clock.now = 9.0
    trying.succeeded()
    assert trying.tried == [
        Attempt("first", "m1", "BackendUnavailable", 1.0, 2.0),
        Attempt("second", "m2", "ok", 4.0, 5.0),
    ]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(None, "cancelled"), (TIMEOUT, "BackendTimeout"), (RuntimeError("a bug"), "RuntimeError")],
)
def test_the_try_that_was_under_way_at_the_end_is_remembered(
    error: Exception | None, outcome: str
) -> None:
    clock = Clock()
    trying = attempts(clock=clock)
    clock.now = 1.0
    trying.begin()
    clock.now = 3.0
    trying.cut_off(error, content_seen=True)
    assert trying.tried == [Attempt("first", "m1", outcome, 1.0, 2.0)]


async def test_an_end_between_two_tries_adds_none() -> None:
    trying = attempts()
    trying.begin()
    await trying.after(UNAVAILABLE, content_seen=False)
    trying.cut_off(None, content_seen=False)
    trying.cut_off(TIMEOUT, content_seen=False)
    assert [a.outcome for a in trying.tried] == ["BackendUnavailable"]


async def test_an_end_after_the_answer_adds_none() -> None:
    trying = attempts()
    trying.begin()
    trying.succeeded()
    trying.cut_off(None, content_seen=True)
    assert [a.outcome for a in trying.tried] == ["ok"]


@pytest.mark.parametrize(
    ("asked", "content_seen", "error", "ejected"),
    [
        (True, False, TIMEOUT, True),
        (True, True, TIMEOUT, False),
        (False, False, TIMEOUT, False),
        (True, False, None, False),
    ],
    ids=["asked in vain", "had begun", "waited for a slot", "its client left"],
)
def test_only_a_limit_that_an_asked_backend_ran_into_speaks_against_it(
    asked: bool, content_seen: bool, error: Exception | None, ejected: bool
) -> None:
    health = Health(("first", "second"), EjectionPolicy(eject_after=1), clock=Clock())
    trying = attempts(health=health)
    trying.begin()
    if asked:
        trying.asking()
    trying.cut_off(error, content_seen=content_seen)
    assert health.gauge() == {"first": float(ejected), "second": 0.0}
