"""The embedded servers: started once, stopped in order, and found again after the worst."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
from pathlib import Path

import psycopg
import pytest

from api.database import connect
from api.embedded import postgres, servers, valkey
from api.embedded.folders import LONGEST_SOCKET_FOLDER, find_folders
from api.errors import ServerError, SettingsError
from api.migrate import migrate
from api.settings import Settings


def settings_at(home: Path) -> Settings:
    return Settings.from_environment({"MAILMART_HOME": str(home)})


@pytest.fixture(params=["plain", "a path with spaces, and “quotes”", "long"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    # too long for a unix socket
    name = "x" * 120 if request.param == "long" else request.param
    return tmp_path / name / "home"


def _start(home: Path) -> bool:
    return servers.start(settings_at(home)).postgres


@pytest.mark.timeout(180)
def test_from_nothing_to_kill_and_back(home: Path) -> None:
    settings = settings_at(home)
    with pytest.raises(SettingsError, match="no embedded server was started"):
        connect(settings, None)
    try:
        # two at once: one starts, the other finds it done
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            assert sorted(pool.map(_start, [home, home])) in ([False, True], [True, True])
        folders = find_folders(home)
        assert postgres.is_running(folders)
        assert valkey.is_running(folders)
        assert len(os.fsencode(folders.sockets)) <= LONGEST_SOCKET_FOLDER
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
        pids = [
            int((folders.servers / "postgres" / "postmaster.pid").read_text().split("\n")[0]),
            int((folders.servers / "valkey.pid").read_text()),
        ]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        _wait_until_gone(pids)
        assert not postgres.is_running(folders)
        assert servers.start(settings) == servers.Started(postgres=True, valkey=True)
        with connect(settings, "mailmart_owner") as connection:
            assert connection.execute("select workspace_id from raw.workspaces").fetchall() == [("kept",)]
        assert servers.start(settings) == servers.Started(postgres=False, valkey=False)
    finally:
        servers.stop(settings)
    assert servers.stop(settings) == servers.Started(postgres=False, valkey=False)


@pytest.mark.timeout(120)
def test_a_taken_port_a_half_made_cluster_and_a_recycled_process(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    folders = find_folders(tmp_path)
    # a first start that was killed while it made the cluster
    unfinished = folders.servers / "postgres.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    try:
        servers.start(settings)
        port = int(str(psycopg.conninfo.conninfo_to_dict((tmp_path / "database_url").read_text().strip())["port"]))
        postgres.stop(folders)
        # its port is taken by somebody else, and its number by another program
        import socket

        with socket.socket() as other:
            other.bind(("127.0.0.1", port))
            other.listen()
            (folders.servers / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n")
            assert not postgres.is_running(folders)
            servers.start(settings)
            with connect(settings, None) as connection:
                assert connection.execute("show port").fetchone() != (str(port),)
    finally:
        servers.stop(settings)


def test_data_of_another_version(tmp_path: Path) -> None:
    folders = find_folders(tmp_path)
    data = folders.servers / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("17\n")
    with pytest.raises(ServerError, match="of PostgreSQL 17, and this is PostgreSQL 18"):
        postgres.start(folders)


@pytest.mark.timeout(120)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run the servers as somebody else")
def test_root_below_a_closed_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    settings = settings_at(closed / "home")
    try:
        servers.start(settings)
        folders = find_folders(settings.home)
        assert not folders.servers.is_relative_to(closed)
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        with connect(settings, None) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        servers.stop(settings)
        import shutil

        shutil.rmtree(find_folders(settings.home).servers)


def _wait_until_gone(pids: list[int]) -> None:
    import time

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists() and "Z" not in _state(pid)]
        if not alive:
            # the workers notice their postmaster's death by themselves
            time.sleep(1)
            return
        time.sleep(0.1)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"
