"""The embedded PostgreSQL: creates its cluster once, starts and stops it. It outlives the process that started it.

It listens on a unix socket in a folder of its own user, and on a port of this machine only if that is configured: any local user
can occupy the connections of a port without a password.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from api.embedded.paths import Folders, write_private
from api.embedded.processes import read_pid, runs_in
from api.errors import ServerError
from api.settings import embedded_database_url

LOGIN = DATABASE = "mailmart"
# of the socket's name, unless a port is configured
DEFAULT_PORT = 5432
VERSION = "18"
ORPHAN_TIMEOUT_SECONDS = 20
# higher than any process id of Linux or macOS
UNUSED_PID = 4194305
# All functions that create a large object. Everybody may call them, and one of another owner makes pg_dump fail
LARGE_OBJECT_FUNCTIONS = ("lo_creat(integer)", "lo_create(oid)", "lo_from_bytea(oid, bytea)")
REVOKE_LARGE_OBJECTS = f"revoke execute on function {', '.join(LARGE_OBJECT_FUNCTIONS)} from public;"

# For analytical queries on a machine that the mail platform shares. ALTER SYSTEM changes each of them.
SETTINGS = {
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "wal_compression": "on",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    # compiling a query takes longer than the API's queries run
    "jit": "off",
    # A login's password is of 192 random bits, which nobody can guess: more iterations only cost each connection of a build 3
    # milliseconds of the client.
    "scram_iterations": "1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # the session of a killed client releases its locks within a second
    "client_connection_check_interval": "1s",
    "max_connections": "100",
    # parallel queries then need no /dev/shm, which is often too small in containers
    "min_dynamic_shared_memory": "128MB",
}


def start(folders: Folders, *, port: int = 0, durable: bool = True) -> None:
    """Starts the server if it does not run. Creates its cluster, login and database if they are missing.

    With a `port`, it listens on that port of 127.0.0.1, too. `durable=False` is for tests: faster, but a crash of the machine can
    destroy the data.

    Raises:
        ServerError: the server cannot be created or started; with the last lines of its log.
    """
    data = folders.servers / "postgres"
    if not (data / "PG_VERSION").exists():
        _create_cluster(folders, data, durable)
    created_by = (data / "PG_VERSION").read_text().strip()
    if created_by != VERSION:
        raise ServerError(
            f"the embedded server's data are of PostgreSQL {created_by}, but this is PostgreSQL {VERSION}",
            hint=f"Dump what you need with that version, then delete {folders.home} and start again.",
        )
    if not is_running(folders):
        _start(folders, data, port, durable)
    try:
        _create_login_and_database(folders)
    except psycopg.OperationalError as error:
        raise ServerError(
            f"PostgreSQL is not available right after its start: {' '.join(str(error).split())}",
            hint=f"Its log is in {folders.servers}.",
        ) from error


def is_running(folders: Folders) -> bool:
    """Whether the server of these folders runs; another process with the same id does not count."""
    data = folders.servers / "postgres"
    pid = read_pid(data / "postmaster.pid")
    return pid is not None and runs_in(pid, data)


def stop(folders: Folders) -> bool:
    """Ends all sessions and stops the server. False if it did not run."""
    if not is_running(folders):
        return False
    run_program(folders, "pg_ctl", "stop", "-D", str(folders.servers / "postgres"), "-m", "fast", "-w", "-t", "60")
    return True


def _create_cluster(folders: Folders, data: Path, durable: bool) -> None:
    # under another name first: an unfinished cluster is never used
    unfinished = data.with_name("postgres.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(data, ignore_errors=True)
    password = secrets.token_urlsafe(24)
    with tempfile.NamedTemporaryFile("w", dir=folders.servers, prefix="password-") as file:
        file.write(password)
        file.flush()
        folders.user.take_ownership(Path(file.name))
        run_program(
            folders,
            "initdb",
            f"--pgdata={unfinished}",
            "--username=postgres",
            f"--pwfile={file.name}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--data-checksums",
            *([] if durable else ["--no-sync"]),
        )
    write_private(folders.home / "superuser_password", password)
    unfinished.rename(data)


def _start(folders: Folders, data: Path, port: int, durable: bool) -> None:
    _clear_stale_pid(data / "postmaster.pid")
    for stale_socket in folders.sockets.glob(".s.PGSQL.*"):
        stale_socket.unlink()
    password = _password(folders)
    deadline = time.monotonic() + ORPHAN_TIMEOUT_SECONDS
    _configure(folders, data, port, durable)
    log = folders.servers / "postgres.log"
    while True:
        try:
            # relative paths: pg_ctl builds a shell command, and the whole path may contain any character
            run_program(folders, "pg_ctl", "start", "-D", data.name, "-l", log.name, "-w", "-t", "120", failed_log=log)
            break
        except ServerError as error:
            if port and "TCP/IP sockets" in error.message:
                raise ServerError(
                    f"PostgreSQL cannot listen on port {port} of 127.0.0.1",
                    hint="Set MAILMART_POSTGRES_PORT to a free port, or unset it: mailmart itself needs none.",
                ) from error
            # this may pass: sessions of a killed server are still ending
            if "shared memory block" not in error.message or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    # with the host as a parameter: it is the socket's folder
    host = quote(os.fsencode(folders.sockets), safe="")
    url = f"postgresql://{LOGIN}:{password}@/{DATABASE}?host={host}&port={port or DEFAULT_PORT}"
    write_private(folders.home / "database_url", f"{url}\n")


def _configure(folders: Folders, data: Path, port: int, durable: bool) -> None:
    settings = {
        **SETTINGS,
        **_memory(),
        "listen_addresses": "127.0.0.1" if port else "",
        "port": str(port or DEFAULT_PORT),
        "unix_socket_directories": _quoted_list_item(folders.sockets),
        # the folder is closed to others already
        "unix_socket_permissions": "0700",
    }
    if not durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        # it would visit each of a thousand databases again and again
        settings |= {"autovacuum": "off"}
    configuration = data / "mailmart.conf"
    configuration.write_text("".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items()))
    folders.user.take_ownership(configuration)
    main = data / "postgresql.conf"
    if "include 'mailmart.conf'" not in main.read_text():
        with main.open("a") as file:
            file.write("include 'mailmart.conf'\n")


def _memory() -> dict[str, str]:
    """An eighth of the machine's memory as the server's cache, at most 2 GB. Half of the memory is assumed to cache files.

    A build looks new events up in all parts of the history's index. If the index fits into memory, the length of the history
    does not matter.
    """
    megabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {
        "shared_buffers": f"{min(max(megabytes // 8, 128), 2048)}MB",
        "effective_cache_size": f"{max(megabytes // 2, 512)}MB",
    }


def _clear_stale_pid(lock: Path) -> None:
    """Replaces the process id in the server's lock file, which may belong to another program by now.

    The rest of the file stays: from it the server sees whether sessions of a killed server still use its data.
    """
    pid = read_pid(lock)
    if pid is not None and pid != UNUSED_PID:
        lock.write_text(lock.read_text().replace(str(pid), str(UNUSED_PID), 1))


def _password(folders: Folders) -> str:
    path = folders.home / "password"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24))
    return path.read_text()


def _superuser_password(folders: Folders) -> str:
    path = folders.home / "superuser_password"
    if not path.exists():
        raise ServerError(
            f"{path} is missing, and the embedded server's password is stored nowhere else",
            hint=f"Restore it, or delete {folders.servers} and {folders.home} and start again.",
        )
    return path.read_text()


def superuser_conninfo(folders: Folders) -> str:
    """The connection string of the server's superuser, for its database `postgres`."""
    return psycopg.conninfo.make_conninfo(
        embedded_database_url(folders.home), user="postgres", password=_superuser_password(folders), dbname="postgres"
    )


def _create_login_and_database(folders: Folders) -> None:
    login, database = sql.Identifier(LOGIN), sql.Identifier(DATABASE)
    superuser = superuser_conninfo(folders)
    with psycopg.connect(superuser, autocommit=True, connect_timeout=10) as connection:
        # not a superuser, as on a managed PostgreSQL
        if connection.execute("select 1 from pg_roles where rolname = %s", (LOGIN,)).fetchone() is None:
            connection.execute(sql.SQL("create role {} login createrole").format(login))
        connection.execute(sql.SQL("alter role {} password {}").format(login, sql.Literal(_password(folders))))
        if connection.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone() is None:
            connection.execute(sql.SQL("create database {} owner {}").format(database, login))
    with psycopg.connect(superuser, dbname=DATABASE, autocommit=True, connect_timeout=10) as connection:
        connection.execute(REVOKE_LARGE_OBJECTS.encode())


def run_program(folders: Folders, program: str, *arguments: str, failed_log: Path | None = None) -> None:
    """Runs a program of PostgreSQL as the servers' user, in their folder.

    Raises:
        ServerError: it failed; with the last lines of its output, or of `failed_log`.
    """
    # to a file: the server inherits it from pg_ctl, and would keep a pipe open
    with tempfile.TemporaryFile("w+") as output:
        completed = subprocess.run(
            [str(folders.binaries / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folders.servers,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
            user=folders.user.uid,
            group=folders.user.gid,
            extra_groups=[] if folders.user.uid is not None else None,
            start_new_session=True,
            check=False,
        )
        if completed.returncode == 0:
            return
        output.seek(0)
        text = output.read()
    if failed_log is not None and failed_log.exists():
        text = failed_log.read_text(errors="replace") or text
    raise ServerError(
        f"{program} failed: {' / '.join(text.strip().splitlines()[-3:])}",
        hint=f"The whole log is in {folders.servers}.",
    )


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _quoted_list_item(path: Path) -> str:
    return '"' + str(path).replace('"', '""') + '"'
