"""Dagster's storage in PostgreSQL over pooled connections, and its schema.

`dagster.yaml` names the class; every process of Dagster has one.  Measured with Dagster 1.13.27 on
two cores, six sensors at rest: dagster-postgres opens a connection for every statement (NullPool,
and each pays for scram), ticks took 130-230 ms and 17 % of a core; with one pool 25-50 ms and 5 %.
Of the 30 statements of such a tick 19 only asked which tables and indexes there are: once will do.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

from dagster import DagsterInstance
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresScheduleStorage
from dagster_postgres.utils import create_pg_engine
from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine, make_url

_KEPT = 4  # connections a process keeps
_MORE = 8  # and opens beside them while many threads ask at once
_WAIT_S = 10  # for one of them
_RECYCLE_S = 1800
# The last that each of the three storages makes.
_TABLES = ("kvs", "event_logs", "job_ticks")
_SCHEMA_LOCK = 0x64616773746572  # "dagster": one process at a time makes or upgrades the tables


class PooledPostgresStorage(DagsterPostgresStorage):
    """DagsterPostgresStorage whose storages share the engines of this process.

    The first of a process makes the tables of an empty database.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        _require_tables(postgres_url)
        super().__init__(postgres_url, should_autocreate_tables=False, inst_data=inst_data)
        self._schedule_storage = TicksStorage(postgres_url, should_autocreate_tables=False)
        # `_engine` is dagster-postgres's own (0.29.27); nothing public takes one.
        for storage in (self.run_storage, self.event_log_storage):
            vars(storage)["_engine"] = shared_engine(postgres_url)
        vars(self.schedule_storage)["_engine"] = ticks_engine(postgres_url)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PooledPostgresStorage":
        """From `dagster.yaml`: `postgres_url` alone is read."""
        return cls(config_value["postgres_url"], inst_data)


class TicksStorage(PostgresScheduleStorage):
    """PostgresScheduleStorage that looks once for what an upgrade brings and nothing takes away.

    What is missing is looked for again.  The methods are those of Dagster 1.13.27, the first not
    public: tests/integration/pipelines/test_storage.py holds this to the release that is installed.
    """

    _instigators = False
    _built: frozenset[str] = frozenset()

    def _has_instigators_table(self, conn: Connection) -> bool:
        self._instigators = self._instigators or super()._has_instigators_table(conn)
        return self._instigators

    def has_built_index(self, migration_name: str) -> bool:
        """Was this migration of data done?"""
        if migration_name not in self._built and super().has_built_index(migration_name):
            self._built |= {migration_name}
        return migration_name in self._built


@lru_cache(maxsize=4)
def shared_engine(url: str) -> Engine:
    """The engine of this process for `url`.  One for all instances: a code server makes a new
    instance for each tick that asks for one.

    Connections are tried before use (0.1 ms on one machine), so that a PostgreSQL that was started
    again costs no failed statement; a forked child leaves its parent's alone and opens its own.
    """
    return _pooled(url)


@lru_cache(maxsize=4)
def ticks_engine(url: str) -> Engine:
    """Likewise, for ticks and what sensors remember: its commits do not wait for the disk.

    Idle sensors make eight a second.  Should PostgreSQL die it loses half a second of them at most:
    a sensor asks again, and a run there was need not be asked for.
    """
    options = f"{make_url(url).query.get('options', '')} -c synchronous_commit=off"
    return _pooled(url, connect_args={"options": options.strip()})


def _pooled(url: str, **more: Any) -> Engine:
    engine = create_pg_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=_KEPT,
        max_overflow=_MORE,
        pool_timeout=_WAIT_S,
        pool_recycle=_RECYCLE_S,
        pool_pre_ping=True,
        pool_use_lifo=True,
        **more,
    )
    # close=False: closing them here would say goodbye to the server on the parent's sockets.
    os.register_at_fork(after_in_child=partial(engine.dispose, close=False))
    return engine


def upgrade(instance: DagsterInstance, url: str) -> bool:
    """Bring the tables of an older Dagster up to this version, as `dagster instance migrate` does;
    True when there was something to do.  Called before anything of this version runs."""
    if not _outdated(instance):
        return False
    with _alone(url):
        if _outdated(instance):  # still, now that it is our turn
            instance.upgrade()
            return True
    return False


@lru_cache(maxsize=4)
def _require_tables(url: str) -> None:
    """Make Dagster's tables where there are none.  Several processes may start at once: one works,
    the others wait for it."""
    if not has_tables(url):
        with _alone(url):
            if not has_tables(url):
                DagsterPostgresStorage(url)  # its constructor makes them


def has_tables(url: str) -> bool:
    """Are they there?  Raises SQLAlchemyError when the database is not."""
    query = text("SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(:names) AS name")
    with shared_engine(url).connect() as connection:
        return bool(connection.execute(query, {"names": list(_TABLES)}).scalar())


def _outdated(instance: DagsterInstance) -> bool:
    current, newest = instance.run_storage.alembic_version() or (None, None)
    return current != newest


@contextmanager
def _alone(url: str) -> Iterator[None]:
    with shared_engine(url).connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _SCHEMA_LOCK})
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _SCHEMA_LOCK})
