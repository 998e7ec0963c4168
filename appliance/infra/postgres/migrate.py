"""Bring the database to the state of migrations/*.sql.  For `appliance migrate` and `appliance up`.

Files run in the order of their names, each in a transaction of its own, and are remembered with
their digest: one that was applied never changes again.  Two runs at once wait for each other.
Everything else may go on meanwhile: batches of rows wait, and a deadlock with a reader is tried
again.
"""

import hashlib
from pathlib import Path

import psycopg
from psycopg import AsyncConnection, errors

from appliance.domain.errors import ConfigError, PartUnavailable
from appliance.infra.postgres.locks import hold_alone

MIGRATIONS = Path(__file__).parent / "migrations"
PGVECTOR = (0, 8)  # the first with hnsw.iterative_scan

_LOCK = 0x61_70_70_6C  # any number, the same in every release
_WAIT = "30s"
_DEADLOCKS = 5  # of one file, each a second or more apart
_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name text PRIMARY KEY,
    digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


async def migrate(
    dsn: str, *, folder: Path = MIGRATIONS, connect_timeout_s: float = 3.0
) -> list[str]:
    """Apply what is missing; the names applied, in order.

    Raises PartUnavailable(part="postgres") when the server cannot be reached, and ConfigError when
    the role lacks a right, pgvector is missing or too old, a file fails, or an applied one changed.
    """
    try:
        async with await AsyncConnection.connect(
            dsn, autocommit=True, connect_timeout=max(2, round(connect_timeout_s))
        ) as connection:
            await connection.execute(f"SET lock_timeout = '{_WAIT}'")
            await connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
            await _require_vector(connection)
            return await _apply(connection, folder)
    except errors.LockNotAvailable as exc:
        raise ConfigError(
            f"another migration, or a transaction that does not end, holds the database since "
            f"{_WAIT}: retry"
        ) from exc
    except errors.InsufficientPrivilege as exc:
        raise ConfigError(f"the role of [postgres] dsn may not create tables: {exc}") from exc
    except psycopg.OperationalError as exc:
        raise PartUnavailable(f"PostgreSQL: {str(exc).strip()}", part="postgres") from exc


async def _require_vector(connection: AsyncConnection) -> None:
    try:
        await connection.execute("SET client_min_messages = warning")
        await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except errors.InsufficientPrivilege as exc:
        raise ConfigError(
            "the role of [postgres] dsn may not create the extension pgvector: run "
            "`CREATE EXTENSION vector` in this database as a superuser once, then migrate again"
        ) from exc
    except errors.FeatureNotSupported as exc:
        raise ConfigError("this PostgreSQL has no pgvector: install it on the server") from exc
    found = await connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    row = await found.fetchone()
    version = str(row[0]) if row else "0"
    if tuple(int(part) for part in version.split(".")[:2]) < PGVECTOR:
        raise ConfigError(
            f"pgvector {version} is too old, 0.8 is needed: upgrade it on the server, then run "
            "`ALTER EXTENSION vector UPDATE` in this database"
        )


async def _apply(connection: AsyncConnection, folder: Path) -> list[str]:
    await connection.execute(_TABLE)
    cursor = await connection.execute("SELECT name, digest FROM schema_migrations")
    applied = {str(name): str(digest) for name, digest in await cursor.fetchall()}
    done: list[str] = []
    for name, script in _scripts(folder):
        digest = hashlib.sha256(script).hexdigest()
        if name not in applied:
            await _run(connection, name, script, digest)
            done.append(name)
        elif applied[name] != digest:
            raise ConfigError(
                f"migration {name} has changed since it was applied to this database: "
                "put the old file back and write the change as a new migration"
            )
    return done


def _scripts(folder: Path) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted(folder.glob("*.sql"))]


async def _run(connection: AsyncConnection, name: str, script: bytes, digest: str) -> None:
    for left in reversed(range(_DEADLOCKS)):
        try:
            await _run_once(connection, name, script, digest)
            return
        except errors.DeadlockDetected:
            if not left:
                raise
        except (errors.InsufficientPrivilege, psycopg.OperationalError):
            raise
        except psycopg.Error as exc:
            reason = str(exc).strip()
            raise ConfigError(f"migration {name} failed and was undone: {reason}") from exc


async def _run_once(connection: AsyncConnection, name: str, script: bytes, digest: str) -> None:
    async with connection.transaction():
        await hold_alone(connection)  # no batch is between two of the tables
        await connection.execute(script)
        await connection.execute(
            "INSERT INTO schema_migrations (name, digest) VALUES (%s, %s)", (name, digest)
        )
