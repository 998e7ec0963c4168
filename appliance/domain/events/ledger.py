"""Where the record of every exchange goes, and whether an answer may leave without one."""

from collections.abc import Callable
from dataclasses import dataclass

from appliance.domain.errors import PartUnavailable
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.ports import ExchangeSink


@dataclass(frozen=True, slots=True)
class Ledger:
    """`unkept` says why nothing can be kept now, "" when it can; given only where an exchange that
    cannot be kept must not be answered."""

    sinks: tuple[ExchangeSink, ...]
    unkept: Callable[[], str] | None = None

    def require_room(self) -> None:
        """Raise PartUnavailable where what would be answered must be kept and cannot be."""
        if self.unkept is not None and (why := self.unkept()):
            raise PartUnavailable(f"nothing new can be kept: {why}", part="spool")

    def keep(self, exchange: Exchange) -> bool:
        """True when every sink has it; all are told.  Raises PartUnavailable for a finished one
        that must be kept and is not."""
        kept = [sink.keep(exchange) for sink in self.sinks]
        if not all(kept) and self.unkept is not None and exchange.status == "finished":
            raise PartUnavailable("this exchange could not be kept", part="spool")
        return all(kept)
