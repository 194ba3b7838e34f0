"""The tests' PostgreSQL: one server for all processes of a run, started when the first test asks for it.

A process of its own (this module, run with -m) starts the server and stops it. It waits for a lock that the run's main process
holds as long as it lives, so nothing is left behind however the run ends: done, interrupted, terminated or killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from api.db.citus import ROLES_ON_NODES
from api.embedded import postgres
from api.embedded.paths import find_folders
from api.settings import PROJECT_ROOT
from tests.support import citus
from tests.support.collation import collation
from tests.support.run_folder import ALIVE, once_per_run, run_folder
from tests.support.server_settings import chosen_settings

# a superuser's connection string of a server to use in place of the embedded one, of another version for example
EXTERNAL_SERVER = "MAILMART_TEST_SERVER"


@dataclass(frozen=True)
class PostgresServer:
    """A server: a superuser's connection string, and the URL of an unprivileged login, as a managed PostgreSQL has it."""

    superuser: str
    login_url: str

    def url(self, database: str) -> str:
        """The URL of the login for one of its databases."""
        return self.login_url.replace("@/postgres?", f"@/{database}?")

    def login(self) -> sql.Identifier:
        """The login's name."""
        return sql.Identifier(str(conninfo_to_dict(self.login_url)["user"]))

    def as_superuser(self) -> psycopg.Connection:
        """A connection of the superuser."""
        return psycopg.connect(self.superuser, autocommit=True)

    def create_database(self, name: str, template: str | None = None, warehouse: str | None = None) -> None:
        """Makes a database that belongs to the login, empty or a copy of the template; one of that name is replaced.

        The login's defaults there are those of the shared `warehouse`, or of the file of the test that is running.
        """
        database = sql.Identifier(name)
        with self.as_superuser() as connection:
            if citus.is_distributed():
                citus.create_database(name, template, self.login())
                return
            _drop_database(connection, name)
            source = sql.SQL("template {}").format(sql.Identifier(template)) if template else _empty()
            # a copy of the files takes a fifth of the time of a copy by way of the WAL
            connection.execute(
                sql.SQL("create database {} {} strategy file_copy owner {}").format(database, source, self.login())
            )
            for setting, value in chosen_settings(warehouse).items():
                connection.execute(
                    sql.SQL("alter role {} in database {} set {} = {}").format(
                        self.login(), database, sql.Identifier(setting), _list(value)
                    )
                )


def shared_server() -> PostgresServer:
    """The run's server; the first caller of all the run's processes starts it."""
    folder = run_folder()
    record = folder / "server.json"
    once_per_run("server", lambda: _start(folder))
    return PostgresServer(**json.loads(record.read_text()))


def _start(folder: Path) -> None:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder)],
            cwd=PROJECT_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            # Ctrl-C ends the tests, and they end the server
            start_new_session=True,
        )
    assert process.stdout is not None
    with process.stdout as output:
        is_ready = output.readline() == b"ready\n"
    assert is_ready, (folder / "log").read_text()


def _main(folder: Path) -> None:
    try:
        with _running_server(folder) as superuser, run_login(superuser) as login_url:
            (folder / "server.json").write_text(json.dumps(asdict(PostgresServer(superuser, login_url))))
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            with (folder / ALIVE).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running_server(folder: Path) -> Iterator[str]:
    """The connection string of a superuser."""
    if EXTERNAL_SERVER in os.environ:
        yield os.environ[EXTERNAL_SERVER]
        return
    folders = find_folders(folder)
    try:
        postgres.start(folders, durable=False)
        yield postgres.superuser_conninfo(folders)
    finally:
        postgres.stop(folders)
        # as root they can be outside of the run's folder
        for path in (folders.servers, folders.sockets):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def run_login(superuser: str) -> Iterator[str]:
    """The URL of a login of the run's own, without a host's name in it; it is dropped, with its databases, at the end."""
    name, password = f"mailmart_tests_{os.getpid()}", secrets.token_hex(16)
    login = sql.Identifier(name)
    server = conninfo_to_dict(superuser)
    with psycopg.connect(superuser, autocommit=True) as connection:
        # the 4,096 of the default are two milliseconds of the client's processor time, for each of thousands of connections
        connection.execute("set scram_iterations = 1")
        connection.execute(sql.SQL("create role {} login createrole password {}").format(login, password))
        # on a Citus cluster, ours can log in; those of other runs are not ours
        ours = "select rolname from pg_roles where rolname like 'mailmart\\_%%' and (not rolcanlogin or rolname = any(%s))"
        for (role,) in connection.execute(ours, (list(ROLES_ON_NODES),)):
            connection.execute(sql.SQL("grant {} to {} with admin option").format(sql.Identifier(role), login))
    yield f"postgresql://{name}:{password}@/postgres?" + urlencode({"host": server["host"], "port": server.get("port") or 5432})
    # the roles that it made remain on an external server: they may have been granted to others since
    with contextlib.suppress(psycopg.Error), psycopg.connect(superuser, autocommit=True) as connection:
        owned = "select datname from pg_database inner join pg_roles on datdba = pg_roles.oid where rolname = %s"
        for (database,) in connection.execute(owned, (name,)).fetchall():
            _drop_database(connection, database)
        connection.execute(sql.SQL("drop owned by {}").format(login))
        connection.execute(sql.SQL("drop role {}").format(login))


def _empty() -> sql.Composable:
    # the system of another server may have other collations
    name = None if EXTERNAL_SERVER in os.environ else collation()
    locale = sql.SQL("locale_provider libc locale {}").format(sql.Literal(name)) if name else sql.SQL("")
    return sql.SQL("template template0 {}").format(locale)


def _list(value: str) -> sql.Composable:
    # a list, such as that of DateStyle
    return sql.SQL(", ").join(sql.Literal(part.strip()) for part in value.split(","))


def _drop_database(connection: psycopg.Connection, name: str) -> None:
    connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
