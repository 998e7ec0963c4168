"""Which backend to try next, and when to stop trying.  Used by chat/service.py; pure but for the
pause.

Retried on the same backend: no connection, death before the first byte, 502, 503, 504.
Handed to the next fallback: those, and a full or slow backend, one that answers nonsense, 429 and
other 5xx.
Never either: other 4xx, or anything once a client has seen content.

What came of each try is told to `routing/health.py`, which passes by a backend that keeps failing.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
from appliance.domain.routing.health import Health, outcome_of

_RETRIED_STATUS = frozenset({502, 503, 504})
_HANDED_ON_STATUS = frozenset({408, 429})
_MAX_PAUSE_S = 8.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retries` a backend after its first try; pauses of `backoff_s`, doubled each time."""

    retries: int
    backoff_s: float


class Attempts:
    """Walks the plan of one request and remembers what was tried."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        policy: RetryPolicy,
        elapsed: Callable[[], float],
        health: Health | None = None,
    ) -> None:
        """`elapsed` gives seconds since the arrival of the request."""
        self._candidates = candidates
        self._policy = policy
        self._elapsed = elapsed
        self._health = health
        self._position = 0
        self._retried = 0
        self._asking = False
        self._began_s: float | None = None  # of the try under way
        self.tried: list[Attempt] = []

    @property
    def current(self) -> Candidate:
        """The backend to try now."""
        return self._candidates[self._position]

    def begin(self) -> None:
        """A try at the current backend begins, with the wait for a slot."""
        self._began_s = self._elapsed()

    def asking(self) -> None:
        """The current backend is being asked from here on; before, the request waits for us."""
        self._asking = True

    def succeeded(self) -> None:
        """Note that the current backend answered."""
        self._end("ok")
        if self._health is not None:
            self._health.request_succeeded(self.current.backend)

    def note_failure(self, error: Exception) -> None:
        """Note why the current backend did not answer."""
        self._end(outcome_of(error))
        if self._health is not None:
            self._health.request_failed(self.current.backend, error)

    def cut_off(self, error: Exception | None, *, content_seen: bool) -> None:
        """The exchange ends; a try that is under way ends with it: with `error`, or (None) because
        nobody waits for it any more.

        A limit of the exchange's own is the backend's failure while it was being asked, and
        nobody's while files were fetched or a slot was waited for, or once it had begun to answer.
        """
        if self._began_s is None:
            return
        blamed = self._asking and not content_seen and isinstance(error, BackendTimeout)
        self._end(outcome_of(error) if error is not None else "cancelled")
        if error is not None and blamed and self._health is not None:
            self._health.request_failed(self.current.backend, error)

    async def after(self, error: BackendError, *, content_seen: bool) -> None:
        """Move to the next try, after the pause it needs; raise `error` when there is none."""
        self.note_failure(error)
        if content_seen:
            raise error
        if _retried(error) and self._retried < self._policy.retries:
            pause_s = min(_MAX_PAUSE_S, self._policy.backoff_s * 2**self._retried)
            self._retried += 1
            await asyncio.sleep(pause_s)
        elif _handed_on(error) and self._position + 1 < len(self._candidates):
            self._position += 1
            self._retried = 0
        else:
            raise error

    def _end(self, outcome: str) -> None:
        now_s = self._elapsed()
        began_s = now_s if self._began_s is None else self._began_s
        self._asking, self._began_s = False, None
        candidate = self.current
        self.tried.append(
            Attempt(candidate.backend, candidate.upstream_model, outcome, began_s, now_s - began_s)
        )


def _retried(error: BackendError) -> bool:
    if isinstance(error, BackendRefused):
        return error.status in _RETRIED_STATUS
    return isinstance(error, BackendUnavailable)


def _handed_on(error: BackendError) -> bool:
    if isinstance(error, BackendRefused):
        return error.status >= 500 or error.status in _HANDED_ON_STATUS
    return isinstance(
        error, BackendUnavailable | BackendTimeout | BackendBusy | BackendProtocolError
    )
