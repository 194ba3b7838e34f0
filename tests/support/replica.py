"""A primary and a streaming replica of it, made by pg_basebackup, which a test can pause, freeze, kill and start again."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.embedded import postgres
from api.embedded.paths import Folders, find_folders
from api.embedded.postgres import run_program
from api.embedded.processes import read_pid
from api.settings import Settings
from tests.support.waiting import wait_until

PORT = 5433


@dataclass(frozen=True)
class Replica:
    """A running replica. `superuser` is a connection string."""

    folders: Folders
    superuser: str
    primary_superuser: str

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folders.servers / "replica"

    def start(self) -> None:
        """Starts it and waits until it accepts connections."""
        # a killed server leaves its lock file
        run_program(self.folders, "pg_ctl", "start", "-D", "replica", "-l", "replica.log", "-w", "-t", "60")

    def stop(self) -> None:
        """Ends it at once, as a crash does."""
        self.signal(signal.SIGCONT)
        run_program(self.folders, "pg_ctl", "stop", "-D", "replica", "-m", "immediate", "-w", "-t", "30")

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to all of its processes: SIGSTOP freezes it, SIGCONT thaws it."""
        pid = read_pid(self.data / "postmaster.pid")
        if pid is None:
            return
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
        for process in (pid, *map(int, children)):
            try:
                os.kill(process, number)
            except ProcessLookupError:
                continue

    def execute(self, statement: str) -> None:
        """Runs a statement on the replica, as its superuser."""
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            connection.execute(statement.encode())

    def catch_up(self) -> None:
        """Waits until it has replayed everything that the primary has written."""
        with (
            psycopg.connect(self.superuser, autocommit=True) as here,
            psycopg.connect(self.primary_superuser, autocommit=True) as there,
        ):
            (until,) = there.execute("select pg_current_wal_flush_lsn()::text").fetchone() or ("",)
            query = "select pg_last_wal_replay_lsn() >= %s::pg_lsn"
            wait_until(lambda: here.execute(query, (until,)).fetchone() == (True,), "the replica has caught up")


@contextmanager
def streaming_pair(original: Settings, superuser: str) -> Iterator[tuple[Settings, Replica]]:
    """The settings of a primary with a copy of a database, whose `read_database_url` is its replica, and the replica.

    `superuser` is a connection string of the original's server.
    """
    home = Path(tempfile.mkdtemp(prefix="mailmart-replica-"))
    # as root the servers run as another user
    home.chmod(0o755)
    folders = find_folders(home)
    replica: Replica | None = None
    try:
        postgres.start(folders, durable=False)
        primary_superuser = postgres.superuser_conninfo(folders)
        url = _copy_database(original, superuser, primary_superuser)
        _make_replica(folders, primary_superuser)
        replica = Replica(folders, make_conninfo(primary_superuser, port=PORT), primary_superuser)
        replica.start()
        settings = Settings(
            database_url=url,
            redis_url=None,
            home=home,
            rate_limit_factor=1_000_000,
            response_cache_mb=0,
            read_database_url=make_conninfo(url, port=PORT),
        )
        yield settings, replica
    finally:
        if replica is not None and read_pid(replica.data / "postmaster.pid"):
            replica.stop()
        postgres.stop(folders)
        for path in (home, folders.servers, folders.sockets):
            shutil.rmtree(path, ignore_errors=True)


def _copy_database(original: Settings, superuser: str, primary_superuser: str) -> str:
    """Copies a database with its roles to the primary, and returns the URL of its login there."""
    source = conninfo_to_dict(str(original.database_url))
    name, login = str(source["dbname"]), str(source["user"])
    password = secrets.token_hex(8)
    with (
        psycopg.connect(superuser, autocommit=True) as there,
        psycopg.connect(primary_superuser, autocommit=True) as here,
    ):
        roles = [
            row[0] for row in there.execute("select rolname from pg_roles where rolname like 'mailmart\\_%' and not rolcanlogin")
        ]
        here.execute(sql.SQL("create role {} login createrole password {}").format(sql.Identifier(login), password))
        for role in roles:
            here.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
            here.execute(
                sql.SQL("grant {} to {} with inherit false, set true").format(sql.Identifier(role), sql.Identifier(login))
            )
        members = there.execute(
            "select roles.rolname, members.rolname from pg_auth_members"
            " inner join pg_roles as roles on roleid = roles.oid inner join pg_roles as members on member = members.oid"
            " where members.rolname = any(%s)", (roles,)
        ).fetchall()  # fmt: skip
        for role, member in members:
            here.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), sql.Identifier(member)))
        here.execute(
            sql.SQL("create database {} owner {} template template0").format(sql.Identifier(name), sql.Identifier(login))
        )
    binaries = find_folders(original.home).binaries
    dump = subprocess.Popen(
        [binaries / "pg_dump", "--format=custom", "--compress=none", make_conninfo(superuser, dbname=name)],
        stdout=subprocess.PIPE,
    )
    target = make_conninfo(primary_superuser, dbname=name)
    restored = subprocess.run(
        [binaries / "pg_restore", "--exit-on-error", f"--dbname={target}"], stdin=dump.stdout, capture_output=True, text=True
    )
    assert dump.wait() == 0
    assert restored.returncode == 0, restored.stderr
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("analyze")
    server = conninfo_to_dict(primary_superuser)
    host = quote(str(server["host"]), safe="")
    return f"postgresql://{login}:{password}@/{name}?host={host}&port={server['port']}"


def _make_replica(folders: Folders, primary_superuser: str) -> None:
    run_program(
        folders, "pg_basebackup", "--pgdata=replica", "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast",
        "--no-sync", f"--dbname={primary_superuser}",
    )  # fmt: skip
    configuration = folders.servers / "replica" / "postgresql.auto.conf"
    with configuration.open("a") as file:
        # of a long replay, a query that it conflicts with is canceled at once
        file.write(f"port = {PORT}\nmax_standby_streaming_delay = 0\nwal_retrieve_retry_interval = 200ms\n")
