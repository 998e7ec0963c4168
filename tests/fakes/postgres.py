"""The embedded PostgreSQL as a test part: started, killed, frozen, with fresh databases."""

import secrets
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from appliance.infra.embedded.postgres import EXTENSIONS, ROLE, Postgres
from appliance.infra.embedded.unprivileged import unprivileged
from appliance.infra.embedded.wheels import postgres_programs
from tests.fakes import processes
from tests.fakes.ports import free_port
from tests.fakes.until import WAIT_S

_TEMPLATE = "template1"  # what PostgreSQL copies a new database from


class Cluster:
    """One cluster in `folder`; its role is no superuser, as in the appliance.  `fsync`: a commit
    waits for the disk, as it does in earnest."""

    def __init__(
        self, folder: Path, *, fsync: bool = False, settings: tuple[str, ...] = ()
    ) -> None:
        password = secrets.token_hex(16)
        self.postgres = Postgres(
            programs=postgres_programs(),
            data=folder / "postgres",
            port=free_port(),
            superuser_password=secrets.token_hex(16),
            password=password,
            run_as=unprivileged(),
        )
        self._folder = folder
        self._settings = (f"fsync={'on' if fsync else 'off'}", *settings)
        self._process: subprocess.Popen[bytes] | None = None

    async def create(self) -> None:
        """Make the cluster, start it, and make the application's role and database."""
        await self.postgres.initialise()
        self.start()
        await self.postgres.prepare()
        self.execute_as_superuser(_TEMPLATE, *(f"CREATE EXTENSION {e}" for e in EXTENSIONS))

    def start(self) -> None:
        """Return when it answers."""
        with (self._folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.postgres.command(), *(f"-c{setting}" for setting in self._settings)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                self._admin("postgres").close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise AssertionError((self._folder / "postgres.log").read_text()) from None
                time.sleep(0.05)

    def create_database(self, copy_of: str = _TEMPLATE) -> str:
        """A database of its own with the extensions, or with what the database `copy_of` has, to
        which nobody may be connected; its DSN, for the application's role.  Starts a server that a
        test killed and, failing, left so."""
        if self._process is not None and self._process.poll() is not None:
            self.start()
        name = f"t_{secrets.token_hex(6)}"
        with self._admin("postgres") as admin:
            admin.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                    *map(sql.Identifier, (name, ROLE, copy_of))
                )
            )
        return make_conninfo(self.postgres.dsn, dbname=name)

    def execute_as_superuser(self, database: str, *statements: str) -> None:
        with self._admin(database) as admin:
            for statement in statements:
                admin.execute(statement.encode())

    def freeze(self) -> None:
        """Stop every process of it; they keep their sockets open."""
        assert self._process is not None
        processes.freeze(self._process.pid)

    def thaw(self) -> None:
        assert self._process is not None
        processes.thaw(self._process.pid)

    def kill(self) -> None:
        """kill -9, all at once; start() brings it back with its data."""
        assert self._process is not None
        # One that is left keeps the shared memory, and the next server does not start.
        processes.kill(self._process.pid)
        self._process.wait()
        (self.postgres.data / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _admin(self, database: str) -> psycopg.Connection:
        superuser = replace(self.postgres, password=self.postgres.superuser_password)
        return psycopg.connect(
            make_conninfo(superuser.dsn, user="postgres", dbname=database), autocommit=True
        )
