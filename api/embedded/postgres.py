"""The embedded PostgreSQL: made once, started, stopped; run by its own programs, so that it outlives who started it."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg import sql

from api.embedded.database_url import embedded_database_url
from api.embedded.paths import Folders, write_whole
from api.embedded.processes import remembered_pid, works_in
from api.errors import ServerError

LOGIN = DATABASE = "mailmart"
VERSION = "18"
SECONDS_FOR_ORPHANS = 20
# one more than any system gives to a process
NOBODYS_PID = 4194305

# For a machine that is shared with the mail platform, with analytical queries on it; all can be changed with ALTER SYSTEM.
SETTINGS = {
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "wal_compression": "on",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    # a query of the API takes less than compiling it
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # who was killed lets go of locks within a second
    "client_connection_check_interval": "1s",
    "listen_addresses": "127.0.0.1",
    "max_connections": "100",
    # parallel queries share memory out of the server's own: a container's /dev/shm is often too small
    "min_dynamic_shared_memory": "128MB",
}


def start(folders: Folders, *, durable: bool = True) -> None:
    """Makes the cluster, its login and its database where they are missing, and starts it where it does not run.

    `durable=False` trades safety against a crash of the machine for speed, for tests.

    Raises:
        ServerError: it cannot be made or started; with the last lines of what it said.
    """
    data = folders.servers / "postgres"
    if not (data / "PG_VERSION").exists():
        _make_cluster(folders, data, durable)
    made_by = (data / "PG_VERSION").read_text().strip()
    if made_by != VERSION:
        raise ServerError(
            f"the embedded server's data are of PostgreSQL {made_by}, and this is PostgreSQL {VERSION}",
            hint=f"Dump what you need with that version, then remove {folders.home} and start again.",
        )
    if not is_running(folders):
        _start(folders, data, durable)
    _make_login_and_database(folders)


def is_running(folders: Folders) -> bool:
    """Whether the server of these folders runs: not a process that has come by its number, nor a copied folder's original."""
    data = folders.servers / "postgres"
    pid = remembered_pid(data / "postmaster.pid")
    return pid is not None and works_in(pid, data)


def stop(folders: Folders) -> bool:
    """Stops the server in order, its sessions too; whether there was one."""
    if not is_running(folders):
        return False
    _run(folders, "pg_ctl", "stop", "-D", str(folders.servers / "postgres"), "-m", "fast", "-w", "-t", "60")
    return True


def _make_cluster(folders: Folders, data: Path, durable: bool) -> None:
    # a folder under another name, so that one that is half made is never taken for a cluster
    unfinished = data.with_name("postgres.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(data, ignore_errors=True)
    password = secrets.token_urlsafe(24)
    with tempfile.NamedTemporaryFile("w", dir=folders.servers, prefix="password-") as file:
        file.write(password)
        file.flush()
        folders.user.owns(Path(file.name))
        _run(
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
    write_whole(folders.home / "superuser_password", password)
    unfinished.rename(data)


def _start(folders: Folders, data: Path, durable: bool) -> None:
    _forget_recycled_process(data / "postmaster.pid")
    for left_behind in folders.sockets.glob(".s.PGSQL.*"):
        left_behind.unlink()
    password = _password(folders)
    deadline = time.monotonic() + SECONDS_FOR_ORPHANS
    while True:
        port = _port(folders)
        _configure(folders, data, port, durable)
        log = folders.servers / "postgres.log"
        try:
            # relative to the servers' folder: pg_ctl writes a shell's command line, and any path may be ours
            _run(folders, "pg_ctl", "start", "-D", data.name, "-l", log.name, "-w", "-t", "120", failed_log=log)
            break
        except ServerError as error:
            # sessions that outlive a killed server end by themselves; a port can be taken in the very moment
            passes = "shared memory block" in error.message or "TCP/IP sockets" in error.message
            if not passes or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    write_whole(folders.home / "database_url", f"postgresql://{LOGIN}:{password}@127.0.0.1:{port}/{DATABASE}\n")


def _configure(folders: Folders, data: Path, port: int, durable: bool) -> None:
    settings = {**SETTINGS, **_memory(), "port": str(port), "unix_socket_directories": _quoted_in_list(folders.sockets)}
    if not durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    configuration = data / "mailmart.conf"
    configuration.write_text("".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items()))
    folders.user.owns(configuration)
    main = data / "postgresql.conf"
    if "include 'mailmart.conf'" not in main.read_text():
        with main.open("a") as file:
            file.write("include 'mailmart.conf'\n")


def _memory() -> dict[str, str]:
    """An eighth of the machine's memory for the server's own cache, at most 2 GB, and half of it as what the system caches.

    A night looks its new events up all over the history's index: one that fits costs the same however long the history is.
    """
    megabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {
        "shared_buffers": f"{min(max(megabytes // 8, 128), 2048)}MB",
        "effective_cache_size": f"{max(megabytes // 2, 512)}MB",
    }


def _forget_recycled_process(lock: Path) -> None:
    """Lets the server start where another program has come by the number in its lock file.

    The number alone is replaced. The file stays, because the server tells by the rest of it whether sessions of a killed
    server still work on its data; a number of nobody's it finds out for itself.
    """
    pid = remembered_pid(lock)
    if pid is not None and pid != NOBODYS_PID:
        lock.write_text(lock.read_text().replace(str(pid), str(NOBODYS_PID), 1))


def _password(folders: Folders) -> str:
    path = folders.home / "password"
    if not path.exists():
        write_whole(path, secrets.token_urlsafe(24))
    return path.read_text()


def _superuser_password(folders: Folders) -> str:
    path = folders.home / "superuser_password"
    if not path.exists():
        raise ServerError(
            f"{path} is gone, and nothing else knows the embedded server's password",
            hint=f"Put it back, or remove {folders.servers} and {folders.home} and start anew.",
        )
    return path.read_text()


def _port(folders: Folders) -> int:
    """The port of last time, so that written-down addresses go on working; another one if it is taken."""
    wanted = 0
    if (folders.home / "database_url").exists():
        wanted = psycopg.conninfo.conninfo_to_dict(embedded_database_url(folders.home)).get("port") or 0  # type: ignore[assignment]
    for port in (int(wanted), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServerError("there is no free port on 127.0.0.1", hint="End some of the programs that listen there.")


def _make_login_and_database(folders: Folders) -> None:
    url = psycopg.conninfo.conninfo_to_dict(embedded_database_url(folders.home))
    login, database = sql.Identifier(LOGIN), sql.Identifier(DATABASE)
    with psycopg.connect(
        host="127.0.0.1",
        port=url["port"],
        user="postgres",
        dbname="postgres",
        password=_superuser_password(folders),
        autocommit=True,
        connect_timeout=10,
    ) as connection:
        # what a managed PostgreSQL gives its customers: no superuser
        if connection.execute("select 1 from pg_roles where rolname = %s", (LOGIN,)).fetchone() is None:
            connection.execute(sql.SQL("create role {} login createrole").format(login))
        connection.execute(sql.SQL("alter role {} password {}").format(login, sql.Literal(_password(folders))))
        if connection.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone() is None:
            connection.execute(sql.SQL("create database {} owner {}").format(database, login))


def _run(folders: Folders, program: str, *arguments: str, failed_log: Path | None = None) -> None:
    # to a file: the server inherits what pg_ctl has, and would keep a pipe open
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
        said = output.read()
    if failed_log is not None and failed_log.exists():
        said = failed_log.read_text(errors="replace") or said
    raise ServerError(
        f"{program} failed: {' / '.join(said.strip().splitlines()[-3:])}",
        hint=f"Its whole log is in {folders.servers}.",
    )


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _quoted_in_list(path: Path) -> str:
    return '"' + str(path).replace('"', '""') + '"'
