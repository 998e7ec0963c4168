"""The embedded PostgreSQL: its cluster in STATE/postgres, its command line, its role and databases.

It listens on 127.0.0.1 only, has no unix socket, and trusts nobody: scram with generated passwords.
The application's role is no superuser, because a superuser reads every file of the account the
server runs under (COPY … PROGRAM).
"""

import asyncio
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from appliance.config import dagster_home
from appliance.domain.errors import PartUnavailable
from appliance.infra.embedded.unprivileged import Unprivileged
from appliance.infra.supervise.process import tied

ROLE = "agent_gateway"
DATABASE = "agent_gateway"
EXTENSIONS = ("vector", "pg_trgm")
_ANSWER_WITHIN_S = 5.0
_SETTINGS = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "timezone=UTC",
    "log_timezone=UTC",
    "max_wal_size=512MB",
    # Every connection of the appliance is a pool's: many idle slots are not needed, a second
    # gateway's are.
    "max_connections=100",
)


@dataclass(frozen=True, slots=True)
class Postgres:
    """One cluster: `programs` is the folder of `postgres` and `initdb`, `data` its own."""

    programs: Path
    data: Path
    port: int
    superuser_password: str
    password: str
    run_as: Unprivileged
    locks: tuple[int, ...] = ()  # the state folder's, held by every process on `data`

    @property
    def dsn(self) -> str:
        """How the application's role reaches its database."""
        return self._dsn(ROLE, self.password, DATABASE)

    def command(self) -> Sequence[str]:
        """The server in the foreground."""
        settings = [word for value in (f"port={self.port}", *_SETTINGS) for word in ("-c", value)]
        program = str(self.programs / "postgres")
        return [*self.run_as.prefix, program, "-D", str(self.data), *settings]

    async def initialise(self) -> None:
        """Make the cluster when there is none; call it only while no server runs on it.

        It is built beside its place and renamed: an interrupted attempt leaves no half cluster.
        """
        fresh = self.data.with_name(f"{self.data.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        if (self.data / "PG_VERSION").exists():
            self.run_as.own(self.data)
            # No server is alive here (the state folder's lock): a pid in this file is a stranger's.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            return
        fresh.mkdir(mode=0o700)
        self.run_as.own(fresh)
        try:
            await self._initdb(fresh)
            fresh.rename(self.data)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    async def _initdb(self, folder: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            *self.run_as.prefix, str(self.programs / "initdb"), "-D", str(folder), "-U", "postgres",
            "--auth=scram-sha-256", "--pwfile=/dev/stdin", "--encoding=UTF8", "--locale=C",
            stdin=PIPE, stdout=DEVNULL, stderr=PIPE, **tied(signal.SIGKILL, *self.locks),
        )  # fmt: skip
        try:
            _, problem = await process.communicate(self.superuser_password.encode() + b"\n")
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            words = problem.decode(errors="replace").strip()
            full = "No space left on device" in words
            raise PartUnavailable(
                "the disk is full: PostgreSQL's cluster could not be made"
                if full
                else f"initdb failed with exit status {process.returncode}: {words}",
                part="postgres",
            )

    async def prepare(self) -> None:
        """Role, databases and extensions, each made when missing; safe to repeat."""
        try:
            await self._make_databases()
            await self._make_extensions()
        except psycopg.Error as exc:
            raise PartUnavailable(
                f"PostgreSQL could not be set up: {exc}", part="postgres"
            ) from exc

    async def _make_databases(self) -> None:
        role = sql.Identifier(ROLE)
        admin = self._dsn("postgres", self.superuser_password, "postgres")
        async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as database:
            found = await database.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE])
            if await found.fetchone() is None:
                await database.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            await database.execute(
                sql.SQL("ALTER ROLE {} WITH NOSUPERUSER NOCREATEROLE PASSWORD {}").format(
                    role, sql.Literal(self.password)
                )
            )
            for name in (DATABASE, dagster_home.DATABASE):
                found = await database.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", [name]
                )
                if await found.fetchone() is None:
                    await database.execute(
                        sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), role)
                    )

    async def _make_extensions(self) -> None:
        admin = self._dsn("postgres", self.superuser_password, DATABASE)
        async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as database:
            for name in EXTENSIONS:
                await database.execute(
                    sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(name))
                )

    async def healthy(self) -> bool:
        """Does it accept a connection and answer?"""
        return await postgres_answers(self._dsn("postgres", self.superuser_password, "postgres"))

    def _dsn(self, user: str, password: str, database: str) -> str:
        return make_conninfo(
            host="127.0.0.1",
            port=self.port,
            user=user,
            password=password,
            dbname=database,
            connect_timeout=5,
        )


async def postgres_answers(dsn: str) -> bool:
    """True when a server at `dsn` lets us in and answers a query."""
    try:
        async with (
            asyncio.timeout(_ANSWER_WITHIN_S),
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as database,
        ):
            await database.execute("SELECT 1")
    except (psycopg.Error, OSError):  # TimeoutError included
        return False
    return True
