"""How long one call waits for parts that are away: a patience (see patient.Patience) that ends.

Of `drain.drain` and `backfill.backfill`.
"""

import asyncio

from appliance.domain.errors import PartUnavailable

PATIENCE_S = 15.0


class Deadline:
    """`patience_s` from the first failure on; what answers in between makes it begin anew."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._since: float | None = None

    def well(self) -> None:
        """The part answers."""
        self._since = None

    async def waits(self, away: PartUnavailable, delay_s: float) -> bool:
        """True after `delay_s`.  Raises `away` when that is too late."""
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
        if now + delay_s > self._since + self._patience_s:
            raise away
        await asyncio.sleep(delay_s)
        return True
