"""The embedded servers: started once, stopped in order, and found again after the worst."""

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
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from api.db.connection import connect
from api.db.migrate import migrate
from api.embedded import postgres, servers, valkey
from api.embedded.paths import MAX_SOCKET_FOLDER, Folders, find_folders
from api.embedded.processes import remembered_pid
from api.errors import ServerError, SettingsError
from api.settings import Settings
from tests.support.command import mailmart

BOTH, NEITHER = servers.Started(postgres=True, valkey=True), servers.Started(postgres=False, valkey=False)


def settings_at(home: Path) -> Settings:
    return Settings.from_environment({"MAILMART_HOME": str(home)})


def port_of(home: Path) -> int:
    return int(str(conninfo_to_dict((home / "database_url").read_text().strip())["port"]))


def pids(folders: Folders) -> list[int]:
    found = [remembered_pid(folders.servers / "postgres" / "postmaster.pid"), remembered_pid(folders.servers / "valkey.pid")]
    return [pid for pid in found if pid is not None]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may walk through: pytest's own are closed, and as root the servers run as somebody else."""
    folder = Path(tempfile.mkdtemp(prefix="mailmart-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def started(home: Path) -> Iterator[Settings]:
    """Servers whose data need not outlive the machine; stopped, whatever happens."""
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


def _start(home: Path) -> servers.Started:
    return servers.start(settings_at(home))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ['it\'s “a path” with "spaces", too', "x" * 120], ids=["spaces", "too long for a socket"])
def test_from_nothing_to_kill_and_back(folder: Path, name: str) -> None:
    home = folder / name / "home"
    settings = settings_at(home)
    with pytest.raises(SettingsError, match="no embedded server was started"):
        connect(settings, None)
    assert servers.stop(settings) == NEITHER
    try:
        # two at once: one starts, the other waits and finds it done
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

        # all at once, without a word: the lock files stay behind
        port = port_of(home)
        for pid in (killed := pids(folders)):
            os.kill(pid, signal.SIGKILL)
        _wait_until_gone(killed)
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


@pytest.mark.timeout(120)
def test_a_taken_port_a_half_made_cluster_and_a_recycled_process(folder: Path) -> None:
    folders = find_folders(folder)
    # a first start that was killed while it made the cluster
    unfinished = folders.servers / "postgres.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    with started(folder) as settings:
        port = port_of(folder)
        lock = folders.servers / "postgres" / "postmaster.pid"
        left_behind = lock.read_text().split("\n", 1)[1]
        postgres.stop(folders)
        # its port is taken by somebody else, and its number by another program
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port))
            other.listen()
            lock.write_text(f"{os.getpid()}\n{left_behind}")
            assert not postgres.is_running(folders)
            servers.start(settings)
            with connect(settings, None) as connection:
                assert connection.execute("show port").fetchone() != (str(port),)


@pytest.mark.timeout(120)
def test_sessions_that_outlive_their_killed_server(folder: Path) -> None:
    with started(folder):
        folders = find_folders(folder)
        with psycopg.connect((folder / "database_url").read_text().strip(), autocommit=True) as connection:
            row = connection.execute("select pg_backend_pid()").fetchone()
            assert row is not None
            # a session that is stopped cannot notice that its server is gone: the data must not get a second server
            os.kill(row[0], signal.SIGSTOP)
            try:
                killed = remembered_pid(folders.servers / "postgres" / "postmaster.pid")
                assert killed is not None
                os.kill(killed, signal.SIGKILL)
                _wait_until_gone([killed])
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    start = pool.apply_async(_start, [folder])
                    time.sleep(4)
                    assert not start.ready()
                    os.kill(row[0], signal.SIGCONT)
                    assert start.get(60) == servers.Started(postgres=True, valkey=False)
            finally:
                os.kill(row[0], signal.SIGKILL)


@pytest.mark.timeout(120)
def test_valkey_without_its_socket_is_replaced(folder: Path) -> None:
    with started(folder) as settings:
        folders = find_folders(folder)
        before = remembered_pid(folders.servers / "valkey.pid")
        valkey.socket_path(folders).unlink()
        assert servers.start(settings) == servers.Started(postgres=False, valkey=True)
        assert valkey.is_running(folders)
        assert before is not None
        _wait_until_gone([before])


@pytest.mark.timeout(120)
def test_a_copied_home_folder_leaves_the_originals_servers_alone(folder: Path) -> None:
    with started(folder / "original"):
        shutil.copytree(folder / "original", folder / "copy", ignore=shutil.ignore_patterns("*.sock", ".s.*"))
        if os.geteuid() == 0:
            user = find_folders(folder / "original").user
            for path in (folder / "copy" / "servers", *(folder / "copy" / "servers").rglob("*")):
                user.owns(path)
        assert servers.stop(settings_at(folder / "copy")) == NEITHER
        assert postgres.is_running(find_folders(folder / "original"))


def test_data_of_another_version(folder: Path) -> None:
    folders = find_folders(folder)
    data = folders.servers / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("17\n")
    with pytest.raises(ServerError, match="of PostgreSQL 17, and this is PostgreSQL 18"):
        postgres.start(folders)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder somebody else's")
def test_servers_of_another_user_are_left_alone(folder: Path) -> None:
    find_folders(folder)
    os.chown(folder / "servers", 12345, 12345)
    result = mailmart(Settings("", None, folder), "up")
    assert result.exit_code == 1
    assert "belong to the user 12345" in result.output
    assert "Traceback" not in result.output


def test_a_home_folder_that_cannot_be() -> None:
    with pytest.raises(ServerError, match="cannot write to /dev/null/home"):
        servers.start(settings_at(Path("/dev/null/home")))


@pytest.mark.timeout(120)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run the servers as somebody else")
def test_root_below_a_closed_folder(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with started(closed / "home") as settings:
        folders = find_folders(settings.home)
        assert not folders.servers.is_relative_to(closed)
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        with connect(settings, None) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        servers.stop(settings)

        # moved, it finds its data again; a copy gets its own
        moved = closed / "moved"
        settings.home.rename(moved)
        assert find_folders(moved).servers == folders.servers
        shutil.copytree(moved, closed / "copy")
        copied = find_folders(closed / "copy").servers
        assert copied != folders.servers
        shutil.rmtree(copied)
        moved.rename(settings.home)


def _wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(_state(pid) not in "ZX" for pid in pids):
        assert time.monotonic() < deadline, f"{pids} do not end"
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
