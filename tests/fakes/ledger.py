"""Records of exchanges in memory, and a recorder whose clock ticks once a look."""

from collections.abc import Callable

from appliance.domain.chat.service import Clock
from appliance.domain.events.exchange import Exchange
from appliance.domain.events.ledger import Ledger
from appliance.domain.events.recorder import Recorder

NOW = 1_795_000_000.5


class Sink:
    """An ExchangeSink that remembers what it was told, and says that it keeps it unless `full`."""

    def __init__(self, *, full: bool = False) -> None:
        self.seen: list[Exchange] = []
        self._full = full

    def keep(self, exchange: Exchange) -> bool:
        self.seen.append(exchange)
        return not self._full


def recorder(sink: Sink, unkept: Callable[[], str] | None = None) -> Recorder:
    """On host `desk`; an error is a 418, who leaves a 499."""
    ticks = iter(range(100))
    return Recorder(
        Ledger((sink,), unkept),
        clock=Clock(lambda: NOW, lambda: float(next(ticks))),
        host="desk",
        status_of=lambda error: 418 if error else 499,
    )
