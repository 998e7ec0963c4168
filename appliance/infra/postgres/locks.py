"""The lock between writing rows and taking them away.

A batch holds it shared from before it looks who is forgotten until it is committed; `forget` and
the retention hold it alone while they delete.  So no row comes back that was just forgotten, and
no content is deleted that a batch is about to refer to.
"""

from appliance.infra.postgres.pool import Connection

_KEY = 0x61_70_70_66  # any number, the same in every release


async def hold_shared(connection: Connection) -> None:
    """Until the end of the transaction, beside other batches."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_KEY,))


async def hold_alone(connection: Connection) -> None:
    """Until the end of the transaction; waits for the batches under way."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_KEY,))
