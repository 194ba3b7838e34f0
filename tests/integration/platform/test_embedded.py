"""The embedded servers start once, stop in order, and recover from kills, taken ports and copied folders."""

from __future__ import annotations

import dataclasses
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

from api.db.connection import connect
from api.db.migrate import migrate
from api.embedded import postgres, servers, valkey
from api.embedded.paths import MAX_SOCKET_FOLDER, Folders, find_folders
from api.embedded.process_user import former_user, process_user
from api.embedded.processes import read_pid
from api.errors import ServerError, SettingsError
from api.settings import Settings
from tests.support.command import mailmart
from tests.support.ports import free_port

BOTH, NEITHER = servers.Changed(postgres=True, valkey=True), servers.Changed(postgres=False, valkey=False)


def settings_at(home: Path) -> Settings:
    return Settings.from_environment({"MAILMART_HOME": str(home)})


def url_of(home: Path) -> str:
    return (home / "database_url").read_text().strip()


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
def started(home: Path, *, port: int = 0) -> Iterator[Settings]:
    """Fast servers whose data do not survive a crash of the machine; stopped in any case."""
    settings = settings_at(home)
    home.mkdir(parents=True, exist_ok=True)
    folders = find_folders(home)
    try:
        postgres.start(folders, port=port, durable=False)
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
@pytest.mark.parametrize("name", ['it\'s “a path” with "spaces"', "x" * 120], ids=["spaces", "too long for a socket"])
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
        url = url_of(home)
        for pid in (killed := pids(folders)):
            os.kill(pid, signal.SIGKILL)
        _wait_until_ended(killed)
        assert not postgres.is_running(folders)
        assert not valkey.is_running(folders)
        assert servers.start(settings) == BOTH
        assert url_of(home) == url
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
def test_an_unfinished_cluster_and_a_recycled_process_id(folder: Path) -> None:
    folders = find_folders(folder)
    # an earlier start was killed while it created the cluster
    unfinished = folders.servers / "postgres.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    with started(folder) as settings:
        lock = folders.servers / "postgres" / "postmaster.pid"
        rest = lock.read_text().split("\n", 1)[1]
        postgres.stop(folders)
        # another process has its id
        lock.write_text(f"{os.getpid()}\n{rest}")
        assert not postgres.is_running(folders)
        assert servers.start(settings) == servers.Changed(postgres=True, valkey=False)


@pytest.mark.timeout(360)
def test_the_database_listens_on_a_port_only_if_one_is_configured(folder: Path) -> None:
    port = free_port()
    home = folder / "with, a comma"
    with started(home) as settings:
        folders = find_folders(home)
        # libpq would read two hosts
        assert "," not in url_of(home)
        with connect(settings, None) as connection:
            assert connection.execute("select inet_server_addr(), current_setting('listen_addresses')").fetchone() == (None, "")
        (database_socket,) = folders.sockets.glob(".s.PGSQL.*[0-9]")
        for path in (folders.servers, folders.sockets, folders.servers / "postgres", database_socket):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
        postgres.stop(folders)

        with socket.socket() as other:
            other.bind(("127.0.0.1", port))
            other.listen()
            with pytest.raises(ServerError, match=f"cannot listen on port {port}") as refused:
                postgres.start(folders, port=port, durable=False)
            assert "MAILMART_POSTGRES_PORT" in str(refused.value.hint)
        assert servers.start(dataclasses.replace(settings, postgres_port=port)).postgres
        # mailmart itself uses the socket
        with connect(settings, None) as connection:
            assert connection.execute("select inet_server_addr()").fetchone() == (None,)
        with psycopg.connect(url_of(home), host="127.0.0.1") as connection:
            assert connection.execute("select inet_server_port()").fetchone() == (port,)


@pytest.mark.timeout(360)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as another user")
def test_root_gives_the_data_of_an_earlier_release_to_the_user_of_the_servers(folder: Path) -> None:
    nobody = former_user()
    assert nobody is not None
    with started(folder) as settings:
        folders = find_folders(folder)
        uid = folders.user.uid
        assert uid not in (0, nobody.uid)
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in pids(folders)} == {uid}
        with connect(settings, None) as connection:
            connection.execute("create table kept as select 1 as n")
        servers.stop(settings)

        # as they were before: everything is nobody's, and the servers run
        for path in (folders.servers, *folders.servers.rglob("*")):
            nobody.take_ownership(path)
        as_before = find_folders(folder)
        assert as_before.user == nobody
        postgres.start(as_before, durable=False)
        valkey.start(as_before)
        before = pids(as_before)
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in before} == {nobody.uid}
        # what nobody links to stays as it is
        secret = folder / "password"
        (folders.servers / "link").symlink_to(secret)
        assert servers.any_running(settings)

        assert servers.start(settings) == BOTH
        _wait_until_ended(before)
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in pids(folders)} == {uid}
        assert {path.lstat().st_uid for path in (folders.servers, *folders.servers.rglob("*"))} - {0} == {uid}
        assert secret.stat().st_uid == 0
        with connect(settings, None) as connection:
            assert connection.execute("select n from kept").fetchone() == (1,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as another user")
@pytest.mark.parametrize("name", ["nobody", "root", "no-such-user"])
def test_root_is_refused_without_a_user_for_the_servers(folder: Path, name: str) -> None:
    with pytest.raises(ServerError, match=name) as refused:
        find_folders(folder, name)
    assert "MAILMART_SERVER_USER" in str(refused.value.hint)
    assert not (folder / "servers").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as another user")
def test_a_user_who_cannot_be_created_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pwd.getpwnam", {}.__getitem__)
    monkeypatch.setattr("shutil.which", lambda name, path=None: None)
    with pytest.raises(ServerError, match="system user mailmart cannot be created") as refused:
        process_user()
    assert "MAILMART_SERVER_USER" in str(refused.value.hint)


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
    deadline = time.monotonic() + 60
    while any(_state(pid) not in "ZX" for pid in pids):
        assert time.monotonic() < deadline, f"{pids} do not end"
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
