"""Which events of a batch somebody asked to forget.  Looked up in the batch's own transaction:
whoever forgets from then on waits for it, and deletes what it leaves."""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Self

from appliance.infra.postgres.locks import hold_shared
from appliance.infra.postgres.payload import Envelope
from appliance.infra.postgres.pool import Connection

_FORGOTTEN = "SELECT digest, forgotten_at FROM forgotten WHERE digest = ANY(%b::bytea[])"


def digest(identifier: str) -> bytes:
    """What is kept of an id that was forgotten."""
    return hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).digest()


class Forgotten:
    """`moments`: when each id was forgotten.  False when there are none."""

    def __init__(self, moments: Mapping[str, datetime]) -> None:
        self._moments = moments

    def __bool__(self) -> bool:
        return bool(self._moments)

    @classmethod
    async def among(cls, connection: Connection, ids: Collection[str]) -> Self:
        """Those of `ids`, from a transaction that holds the shared lock from here on."""
        names = {digest(name): name for name in ids}
        async with connection.pipeline():
            await hold_shared(connection)
            cursor = await connection.execute(_FORGOTTEN, [list(names)])
        return cls({names[bytes(found)]: at for found, at in await cursor.fetchall()})

    def covers(self, event: Envelope) -> bool:
        """It was asked before one of its ids was forgotten, or is about what was.  A thread that
        goes on afterwards is kept again: what was to be forgotten is what there was."""
        if event.about and self.names(event.about):
            return True
        at = max((self._moments[name] for name in event.ids if name in self._moments), default=None)
        return at is not None and datetime.fromisoformat(event.created_at) <= at

    def names(self, identifier: str) -> bool:
        """`identifier` itself, whenever it was asked: for what cannot be read."""
        return identifier in self._moments
