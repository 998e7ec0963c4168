"""The hourly deletion of rows that are older than `[retention]` says, beside the workers."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

import msgspec

from appliance.config.schema import RetentionConfig
from appliance.domain.errors import ApplianceError
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.retention import prune

EVERY_S = 3600.0
RETRY_S = 60.0
log = logging.getLogger("appliance.retention")
Count = Callable[[Mapping[str, int]], None]


def wanted(config: RetentionConfig) -> bool:
    """Is anything ever to be deleted?"""
    return any(msgspec.structs.asdict(config).values())


async def keep_pruned(pool: PostgresPool, config: RetentionConfig, count: Count) -> None:
    """Until cancelled: now and once an hour; after an error, in a minute."""
    while True:
        pause_s = EVERY_S if await _pruned(pool, config, count) else RETRY_S
        await asyncio.sleep(pause_s)


async def _pruned(pool: PostgresPool, config: RetentionConfig, count: Count) -> bool:
    """Once; False when it failed, however it did: that stops neither the workers nor the next."""
    try:
        rows = await prune(pool, config, time.time())
    except ApplianceError as exc:
        log.warning("retention_waits", extra={"error": str(exc)})
        return False
    except Exception:
        log.exception("retention_failed")
        return False
    count(rows)
    if any(rows.values()):
        log.info("retention_pruned", extra={"rows": rows})
    return True
