"""Where an exchange goes when it is over."""

from typing import Protocol

from appliance.domain.events.exchange import Exchange


class ExchangeSink(Protocol):
    """The spool, as the chat service sees it."""

    def keep(self, exchange: Exchange) -> bool:
        """Take `exchange` over in one completed write; microseconds, never waits for the network.

        False: it could not be kept (full or failing disk); counted and said in `/ready`, never
        raised.
        """
