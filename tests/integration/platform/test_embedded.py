"""The embedded servers start once, stop in order, and recover from kills, taken ports and copied folders."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from api.db.connection import connect
from api.db.migrate import migrate
from api.embedded import postgres, servers, valkey
from api.embedded.paths import MAX_SOCKET_FOLDER, Folders, find_folders
from api.embedded.processes import read_pid
from api.errors import ServerError, SettingsError
from api.settings import Settings
from tests.support.command import mailmart

BOTH, NEITHER = servers.Changed(postgres=True, valkey=True), servers.Changed(postgres=False, valkey=False)


def settings_at(home: Path) -> Settings:
    return Settings.from_environment({"MAILMART_HOME": str(home)})


def port_of(home: Path) -> int:
    return int(str(conninfo_to_dict((home / "database_url").read_text().strip())["port"]))


def pids(folders: Folders) -> list[int]:
    pids = [read_pid(folders.servers / "postgres" / "postmaster.pid"), read_pid(folders.servers / "valkey.pid")]
    return [pid for pid in pids if pid is not None]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter, unlike those of pytest: as root the servers run as another user."""
    folder = Path(tempfile.mkdtemp(prefix="mailmart-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def started(home: Path) -> Iterator[Settings]:
    """Fast servers whose data do not survive a crash of the machine; stopped in any case."""
    settings = settings_at(home)
    home.mkdir(parents=True, exist_ok=True)
    folders = find_folders(home)
    try:
        postgres.start(folders, durable=False)
        valkey.start(folders)
        yield settings
    finally:
        servers.stop(settings)
        if not folders.servers.is_relative_to(home):
            shutil.rmtree(folders.servers)
        if not folders.sockets.is_relative_to(folders.servers):
            shutil.rmtree(folders.sockets)


def _start(home: Path) -> servers.Changed:
    return servers.start(settings_at(home))


@pytest.mark.timeout(540)
@pytest.mark.parametrize("name", ['it\'s “a path” with "spaces", too', "x" * 120], ids=["spaces", "too long for a socket"])
def test_servers_start_once_and_recover_from_a_kill(folder: Path, name: str) -> None:
    home = folder / name / "home"
    settings = settings_at(home)
    with pytest.raises(SettingsError, match="no embedded server was started"):
        connect(settings, None)
    assert servers.stop(settings) == NEITHER
    try:
        # two processes at once: one starts the servers, the other waits
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            assert sorted(pool.map(_start, [home, home]), key=str) == sorted([BOTH, NEITHER], key=str)
        folders = find_folders(home)
        assert postgres.is_running(folders)
        assert valkey.is_running(folders)
        assert len(os.fsencode(folders.sockets)) <= MAX_SOCKET_FOLDER
        assert stat.S_IMODE(folders.sockets.stat().st_mode) == 0o700
        assert stat.S_IMODE(folders.servers.stat().st_mode) == 0o700
        for secret in ("database_url", "password", "superuser_password"):
            assert stat.S_IMODE((home / secret).stat().st_mode) == 0o600

        assert migrate(settings)
        assert migrate(settings) == []
        with connect(settings, "mailmart_owner") as connection:
            connection.execute("insert into raw.workspaces (workspace_id) values ('kept')")
            row = connection.execute("select rolsuper, rolcreaterole from pg_roles where rolname = session_user").fetchone()
            assert row == (False, True)

        # all killed at once: the lock files stay
        port = port_of(home)
        for pid in (killed := pids(folders)):
            os.kill(pid, signal.SIGKILL)
        _wait_until_ended(killed)
        assert not postgres.is_running(folders)
        assert not valkey.is_running(folders)
        assert servers.start(settings) == BOTH
        assert port_of(home) == port
        with connect(settings, "mailmart_owner") as connection:
            assert connection.execute("select workspace_id from raw.workspaces").fetchall() == [("kept",)]
        assert servers.start(settings) == NEITHER
        assert servers.stop(settings) == BOTH
    finally:
        servers.stop(settings)
    assert servers.stop(settings) == NEITHER
    if not folders.sockets.is_relative_to(home):
        shutil.rmtree(folders.sockets)


@pytest.mark.timeout(360)
def test_a_taken_port_an_unfinished_cluster_and_a_recycled_process_id(folder: Path) -> None:
    folders = find_folders(folder)
    # an earlier start was killed while it created the cluster
    unfinished = folders.servers / "postgres.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    with started(folder) as settings:
        port = port_of(folder)
        lock = folders.servers / "postgres" / "postmaster.pid"
        rest = lock.read_text().split("\n", 1)[1]
        postgres.stop(folders)
        # another program has its port, and another process its id
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port))
            other.listen()
            lock.write_text(f"{os.getpid()}\n{rest}")
            assert not postgres.is_running(folders)
            servers.start(settings)
            with connect(settings, None) as connection:
                assert connection.execute("show port").fetchone() != (str(port),)


@pytest.mark.timeout(360)
def test_a_start_waits_for_sessions_of_a_killed_server(folder: Path) -> None:
    with started(folder):
        folders = find_folders(folder)
        with psycopg.connect((folder / "database_url").read_text().strip(), autocommit=True) as connection:
            row = connection.execute("select pg_backend_pid()").fetchone()
            assert row is not None
            # a stopped session does not notice that its server was killed: a second server must not use the data yet
            os.kill(row[0], signal.SIGSTOP)
            try:
                killed = read_pid(folders.servers / "postgres" / "postmaster.pid")
                assert killed is not None
                os.kill(killed, signal.SIGKILL)
                _wait_until_ended([killed])
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    start = pool.apply_async(_start, [folder])
                    time.sleep(4)
                    assert not start.ready()
                    os.kill(row[0], signal.SIGCONT)
                    assert start.get(60) == servers.Changed(postgres=True, valkey=False)
            finally:
                # it may have ended after SIGCONT
                with suppress(ProcessLookupError):
                    os.kill(row[0], signal.SIGKILL)


@pytest.mark.timeout(360)
def test_valkey_without_its_socket_is_replaced(folder: Path) -> None:
    with started(folder) as settings:
        folders = find_folders(folder)
        before = read_pid(folders.servers / "valkey.pid")
        valkey.socket_path(folders).unlink()
        assert servers.start(settings) == servers.Changed(postgres=False, valkey=True)
        assert valkey.is_running(folders)
        assert before is not None
        _wait_until_ended([before])


@pytest.mark.timeout(360)
def test_a_copied_home_folder_does_not_stop_the_original_servers(folder: Path) -> None:
    with started(folder / "original"):
        shutil.copytree(folder / "original", folder / "copy", ignore=shutil.ignore_patterns("*.sock", ".s.*"))
        if os.geteuid() == 0:
            user = find_folders(folder / "original").user
            for path in (folder / "copy" / "servers", *(folder / "copy" / "servers").rglob("*")):
                user.take_ownership(path)
        assert servers.stop(settings_at(folder / "copy")) == NEITHER
        assert postgres.is_running(find_folders(folder / "original"))


def test_data_of_another_major_version_are_refused(folder: Path) -> None:
    folders = find_folders(folder)
    data = folders.servers / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("17\n")
    with pytest.raises(ServerError, match="of PostgreSQL 17, but this is PostgreSQL 18"):
        postgres.start(folders)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of a folder")
def test_servers_of_another_user_are_refused(folder: Path) -> None:
    find_folders(folder)
    os.chown(folder / "servers", 12345, 12345)
    result = mailmart(Settings("", None, folder), "up")
    assert result.exit_code == 1
    assert "belong to the user 12345" in result.output
    assert "Traceback" not in result.output


def test_an_impossible_home_folder_is_refused() -> None:
    with pytest.raises(ServerError, match="cannot write to /dev/null/home"):
        servers.start(settings_at(Path("/dev/null/home")))


@pytest.mark.timeout(360)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as another user")
def test_as_root_the_servers_leave_a_closed_folder(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with started(closed / "home") as settings:
        folders = find_folders(settings.home)
        assert not folders.servers.is_relative_to(closed)
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        with connect(settings, None) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        servers.stop(settings)

        # a moved home folder keeps its data; a copy gets its own
        moved = closed / "moved"
        settings.home.rename(moved)
        assert find_folders(moved).servers == folders.servers
        shutil.copytree(moved, closed / "copy")
        copied = find_folders(closed / "copy").servers
        assert copied != folders.servers
        shutil.rmtree(copied)
        moved.rename(settings.home)


def _wait_until_ended(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(_state(pid) not in "ZX" for pid in pids):
        assert time.monotonic() < deadline, f"{pids} do not end"
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
