"""The embedded PostgreSQL: made once, started, stopped; run by its own programs, so that it outlives who started it."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from api.embedded.address import embedded_database_url
from api.embedded.folders import Folders
from api.errors import ServerError

LOGIN = DATABASE = "mailmart"
VERSION = "18"

# For a machine that is shared with the mail platform, with analytical queries on it; all can be changed with ALTER SYSTEM.
SETTINGS = {
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "effective_cache_size": "2GB",
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
}


def start(folders: Folders, *, durable: bool = True) -> None:
    """Makes the cluster, its login and its database where they are missing, and starts it where it does not run.

    `durable=False` trades safety against a crash of the machine for speed, for tests.

    Raises:
        ServerError: it cannot be made or started; with the last lines of what it said.
    """
    data = folders.servers / "postgres"
    if not (data / "PG_VERSION").exists():
        _make_cluster(folders, data)
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
    """Whether the server of these folders runs: not a process that has come by its number."""
    data = folders.servers / "postgres"
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n")[0])
        os.kill(pid, 0)
        program = Path(f"/proc/{pid}/exe")
        return not Path("/proc/self").exists() or program.resolve().name == "postgres"
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False


def stop(folders: Folders) -> bool:
    """Stops the server in order, its sessions too; whether there was one."""
    if not is_running(folders):
        return False
    _run(folders, "pg_ctl", "stop", "-D", str(folders.servers / "postgres"), "-m", "fast", "-w", "-t", "60")
    return True


def _make_cluster(folders: Folders, data: Path) -> None:
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
        )
    _write_secret(folders.home / "superuser_password", password)
    _write_secret(folders.home / "password", secrets.token_urlsafe(24))
    unfinished.rename(data)


def _start(folders: Folders, data: Path, durable: bool) -> None:
    # left by a server that was killed; had it been alive, we would not be here
    (data / "postmaster.pid").unlink(missing_ok=True)
    port = _port(folders)
    settings = {**SETTINGS, "port": str(port), "unix_socket_directories": f"'{_quoted(folders.sockets)}'"}
    if not durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    configuration = data / "mailmart.conf"
    configuration.write_text("".join(f"{name} = {_value(value)}\n" for name, value in settings.items()))
    folders.user.owns(configuration)
    main = data / "postgresql.conf"
    if "include 'mailmart.conf'" not in main.read_text():
        with main.open("a") as file:
            file.write("include 'mailmart.conf'\n")
    log = folders.servers / "postgres.log"
    _run(folders, "pg_ctl", "start", "-D", str(data), "-l", str(log), "-w", "-t", "120", failed_log=log)
    password = (folders.home / "password").read_text()
    _write_secret(folders.home / "database_url", f"postgresql://{LOGIN}:{password}@127.0.0.1:{port}/{DATABASE}\n")


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
        password=(folders.home / "superuser_password").read_text(),
        autocommit=True,
        connect_timeout=10,
    ) as connection:
        # what a managed PostgreSQL gives its customers: no superuser
        if connection.execute("select 1 from pg_roles where rolname = %s", (LOGIN,)).fetchone() is None:
            connection.execute(sql.SQL("create role {} login createrole").format(login))
        connection.execute(
            sql.SQL("alter role {} password {}").format(login, sql.Literal((folders.home / "password").read_text()))
        )
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
        said = failed_log.read_text(errors="replace")
    raise ServerError(
        f"{program} failed: {' / '.join(said.strip().splitlines()[-3:])}",
        hint=f"Its whole log is in {folders.servers}.",
    )


def _write_secret(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.rename(path)


def _quoted(path: Path) -> str:
    return str(path).replace('"', '""').join('""') if any(c in str(path) for c in ' ,"') else str(path)


def _value(value: str) -> str:
    return value if value.startswith("'") else f"'{value}'"
