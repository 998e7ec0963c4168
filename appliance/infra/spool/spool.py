"""The spool: `keep` takes an exchange over in one completed write, `take` and `acked` serve the
shipper.

`keep` is on the path of every request: it encodes, writes, and never waits or raises.  Everything
that may wait for the disk (syncing in groups, deleting, adopting) happens in one background task,
in threads.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from appliance.config.schema import SpoolConfig
from appliance.domain.events.exchange import Exchange
from appliance.domain.tasks import ended
from appliance.infra.spool import housekeeping
from appliance.infra.spool.folder import Folder, claim
from appliance.infra.spool.journal import Journal, Ticket
from appliance.infra.spool.poison import PoisonFile
from appliance.infra.spool.stats import Counters, SpoolStats
from appliance.infra.spool.writer import Writer

ADOPT_INTERVAL_S = 10.0
RECYCLE_BYTES = 1024 * 1024
RECYCLE_AGE_S = 5.0
_FREE_BYTES = 1024 * 1024  # so much free disk ends a degraded state that a full disk began
_encode = msgspec.json.Encoder().encode
log = logging.getLogger("appliance.spool")


class Spool:
    """An ExchangeSink and the queue behind it; an async context manager, for one event loop.

    `wake` is set when there is something new to take.  `degraded` is the reason `/ready` gives, or
    "".
    """

    def __init__(
        self, directory: Path, config: SpoolConfig, wall: Callable[[], float] = time.time
    ) -> None:
        self.wake = asyncio.Event()
        self.degraded = ""
        self._wanted = 0  # bytes of the last record there was no room for
        self._directory = directory
        self._config = config
        self._wall = wall
        self._counters = Counters()
        self._writer: Writer | None = None
        self._own: Journal | None = None
        self._adopted: list[Journal] = []
        self._looked = False
        self._look_again_at = 0.0
        self._poison = PoisonFile(directory, config.max_bytes // 4)
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._claim()
        self._keeper = asyncio.create_task(self._keep_house(), name="spool")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            await ended(self._keeper)
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.seal()
            try:
                await asyncio.to_thread(housekeeping.sync, writer.finished, -1)
            except OSError as exc:
                self._note(f"the spool cannot be synced: {exc.strerror}")
        for journal in self._journals():
            await asyncio.to_thread(housekeeping.leave, journal)

    def keep(self, exchange: Exchange) -> bool:
        """See ExchangeSink.keep."""
        try:
            payload = _encode(exchange)
        except (TypeError, ValueError, RecursionError) as exc:
            return self._refuse(f"an exchange cannot be written as JSON: {exc}", exchange)
        if self._writer is None:
            return self._refuse(self.degraded or "the spool is closed", exchange)
        if self._bytes() + len(payload) > self._config.max_bytes:
            self._wanted = len(payload)
            return self._refuse(f"the spool is full ({self._config.max_bytes} bytes)", exchange)
        try:
            self._writer.append(payload, exchange)
        except OSError as exc:
            return self._refuse(f"the spool cannot be written: {exc.strerror}", exchange)
        if self.degraded:
            self._recovered()
        if not self.wake.is_set():
            self.wake.set()
        return True

    async def take(self, limit: int) -> list[Ticket]:
        """Up to `limit` records not handed out yet, those of dead processes first, each oldest
        first."""
        if not self._looked:
            return []
        for journal in self._journals():
            try:
                if taken := await journal.take(limit):
                    return taken
            except OSError as exc:
                self._note(f"{journal.folder.path} cannot be read: {exc.strerror}")
        return []

    def acked(self, ticket: Ticket, *, duplicates: int = 0) -> None:
        """Every event of `ticket` is in its stream; `duplicates` of them were there before."""
        ticket.journal.ack(ticket)
        self._counters.shipped += 1
        self._counters.deduplicated += duplicates

    async def poison(self, ticket: Ticket, reason: str) -> None:
        """`ticket` can never be shipped: set it aside and go on."""
        kept = await asyncio.to_thread(self._poison.append, ticket.payload, reason)
        ticket.journal.ack(ticket)
        self._counters.poisoned += 1
        self._counters.last_error = reason
        log.error(
            "spool_poisoned", extra={"reason": reason, "set_aside": str(kept or "nowhere: full")}
        )

    def stats(self) -> SpoolStats:
        """Numbers of this moment; cheap."""
        counters, journals = self._counters, self._journals()
        waiting = [j.oldest_at for j in journals if j.oldest_at is not None]
        return SpoolStats(
            depth_records=sum(j.depth_records for j in journals),
            depth_bytes=sum(0 if j.idle else j.bytes for j in journals),
            oldest_age_s=max(0.0, self._wall() - min(waiting)) if waiting else 0.0,
            shipped=counters.shipped,
            deduplicated=counters.deduplicated,
            not_kept=counters.not_kept,
            poisoned=counters.poisoned,
            torn=counters.torn + sum(j.torn for j in journals),
            last_error=counters.last_error,
        )

    def _journals(self) -> list[Journal]:
        return [*self._adopted, self._own] if self._own is not None else list(self._adopted)

    def _bytes(self) -> int:
        own = self._own.bytes if self._own is not None else 0
        return own + sum(j.bytes for j in self._adopted) if self._adopted else own

    def _refuse(self, reason: str, exchange: Exchange) -> bool:
        self._counters.not_kept += 1
        self._counters.last_error = reason
        if self.degraded != reason or self._counters.not_kept == 1:
            fields = {
                "reason": reason,
                "trace_id": exchange.trace_id,
                "not_kept": self._counters.not_kept,
            }
            log.error("spool_not_kept", extra=fields)
        self.degraded = reason
        return False

    def _recovered(self) -> None:
        log.warning(
            "spool_recovered", extra={"was": self.degraded, "not_kept": self._counters.not_kept}
        )
        self.degraded = ""

    def _note(self, error: str) -> None:
        if error != self._counters.last_error:
            log.error("spool_error", extra={"error": error})
        self._counters.last_error = error

    async def _claim(self) -> None:
        """Get a directory of our own; where that fails, exchanges are refused until it succeeds."""
        try:
            folder: Folder = await asyncio.to_thread(claim, self._directory, self._wall)
        except OSError as exc:
            self.degraded = f"the spool {self._directory} cannot be used: {exc.strerror}"
            self._note(self.degraded)
            return
        self._own = Journal(folder)
        segment_bytes = min(self._config.segment_bytes, self._config.max_bytes // 4)
        self._writer = Writer(self._own, segment_bytes, self._wall)
        if self.degraded:
            self._recovered()

    async def _keep_house(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                if loop.time() >= self._look_again_at:
                    await self._look_for_the_dead()
                    self._look_again_at = loop.time() + ADOPT_INTERVAL_S
                await self._tidy()
            except OSError as exc:
                self._note(f"the spool cannot be tidied: {exc.strerror}")
            except Exception:  # or nothing would be synced, deleted or adopted any more
                log.exception("spool_housekeeping_failed")
            await asyncio.sleep(self._config.sync_interval_s)

    async def _look_for_the_dead(self) -> None:
        """Adopt directories nobody holds; what they hold is shipped before anything of ours."""
        if self._writer is None:
            await self._claim()
        for journal in await asyncio.to_thread(housekeeping.adopt_all, self._directory):
            self._adopted.append(journal)
            fields = {"directory": journal.folder.path.name, "records": journal.depth_records}
            log.warning("spool_adopted", extra=fields)
        self._looked = True
        self.wake.set()

    async def _tidy(self) -> None:
        """Sync what was written, delete what is acked, write down how far; raises OSError."""
        if self._writer is not None:
            self._writer.recycle(min(RECYCLE_BYTES, self._config.max_bytes // 4), RECYCLE_AGE_S)
            finished, self._writer.finished = self._writer.finished, []
            if self._writer.dirty or finished:
                self._writer.dirty = False
                await asyncio.to_thread(housekeeping.sync, finished, self._writer.handle)
        for journal in self._journals():
            if housekeeping.has_work(journal):
                await asyncio.to_thread(housekeeping.clear, journal)
            if not journal.segments and journal is not self._own:
                self._adopted.remove(journal)
                self._counters.torn += journal.torn
                await asyncio.to_thread(journal.folder.remove)
        if self.degraded and self._writer is not None and await self._has_room():
            self._recovered()

    async def _has_room(self) -> bool:
        disk = await asyncio.to_thread(shutil.disk_usage, self._directory)
        free = self._config.max_bytes - self._bytes()
        return disk.free >= _FREE_BYTES and free > max(self._wanted, self._config.max_bytes // 64)
