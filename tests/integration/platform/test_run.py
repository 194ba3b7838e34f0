"""`mailmart run` and the embedded servers: killed processes are restarted, everything stops in order, nothing is left."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from api.embedded import postgres, servers, valkey
from api.embedded.paths import Folders, find_folders
from api.embedded.processes import read_pid
from api.embedded.watchdog import ServerWatchdog
from api.errors import ServerError
from api.settings import PROJECT_ROOT, Settings, embedded_database_url
from tests.support.ports import free_port
from tests.support.programs import RECORDER, TIMEOUT_SECONDS, children, has_ended, recorded_pids, until

# everything but the real worker and scheduler: embedded servers, the real API server, and two small programs
INSTALLATION = """
import sys
from api.cli.stack import run_programs, running_servers
from api.observability.logs import configure_logs
from api.processes.stack import service_programs
from api.processes.supervisor import Program
from api.settings import Settings

recorder, record = sys.argv[1:]
configure_logs()
settings = Settings.from_environment()
serve = service_programs()[0]
others = [Program(name, [sys.executable, "-c", recorder, name, record]) for name in ("scheduler", "worker")]
with running_servers(settings) as stop_signal:
    run_programs(settings, [serve, *others], stop_signal, lambda: print("it is ready", flush=True), ready_path="/healthz")
print("everything stopped", flush=True)
"""


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """The file to which the small programs append."""
    path = tmp_path / "record"
    path.touch()
    return path


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that other users may enter: as root the servers run as another user."""
    folder = Path(tempfile.mkdtemp(prefix="mailmart-run-"))
    folder.chmod(0o755)
    yield folder
    servers.stop(Settings(None, None, folder))
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(home: Path, record: Path, port: int) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Runs the installation while the block runs: its process and its log."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAILMART_")}
    log = record.with_name("log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", INSTALLATION, RECORDER, str(record)],
            env={**inherited, "MAILMART_HOME": str(home), "MAILMART_PORT": str(port)},
            cwd=PROJECT_ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: "it is ready" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield process, log
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(TIMEOUT_SECONDS)


@pytest.mark.timeout(720)
def test_killed_processes_are_restarted_and_everything_stops_in_order(home: Path, record: Path) -> None:
    port = free_port()
    settings = Settings(None, None, home, port=port)
    with running(home, record, port) as (process, log):
        folders = find_folders(home)
        until(lambda: recorded_pids(record, "worker") and recorded_pids(record, "scheduler"))
        # PostgreSQL, Valkey and the worker are killed at once
        killed = [
            read_pid(folders.servers / "postgres" / "postmaster.pid"),
            read_pid(folders.servers / "valkey.pid"),
            recorded_pids(record, "worker")[0],
        ]
        for pid in killed:
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(recorded_pids(record, "worker")) == 2)
        until(lambda: valkey.is_running(folders) and postgres.is_running(folders))
        until(lambda: _database_responds(settings))
        # the API server is killed; its worker processes would keep the port
        (server,) = children(process.pid, b"serve")
        os.kill(server, signal.SIGKILL)
        until(lambda: children(process.pid, b"serve") not in ([], [server]))
        until(lambda: _responds(f"http://127.0.0.1:{port}/healthz"))
        # a second one for the same home folder is refused
        second = subprocess.run(
            [sys.executable, "-c", INSTALLATION, RECORDER, str(record)],
            env={**os.environ, "MAILMART_HOME": str(home), "MAILMART_PORT": str(free_port())},
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
        assert second.returncode == 1
        assert "already running" in second.stderr
        # an impatient user presses Ctrl-C again and again
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        assert process.wait(TIMEOUT_SECONDS) == 0, log.read_text()
        output = log.read_text()
    assert "everything stopped" in output
    assert "Traceback" not in output
    assert f"worker (process {killed[2]}) ended by SIGKILL" in output
    assert "PostgreSQL" in output
    assert record.read_text().splitlines()[-2:] == ["scheduler stops", "worker stops"]
    assert has_ended(recorded_pids(record, "worker")[1])
    assert not servers.any_running(settings)
    assert not _responds(f"http://127.0.0.1:{port}/healthz")


@pytest.mark.timeout(720)
def test_servers_that_ran_before_keep_running_and_those_of_a_killed_run_are_stopped(home: Path, record: Path) -> None:
    settings = Settings(None, None, home)
    port = free_port()
    with running(home, record, port) as (process, _):
        until(lambda: recorded_pids(record, "worker"))
        pids = children(process.pid)
        process.kill()
        process.wait()
    # the small programs do not end with their parent, but the API server does
    for pid in recorded_pids(record, "worker") + recorded_pids(record, "scheduler"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: all(has_ended(pid) for pid in pids))
    assert servers.any_running(settings)
    with running(home, record, port):
        pass
    assert not servers.any_running(settings)
    servers.start(settings)
    with running(home, record, port):
        pass
    assert servers.any_running(settings)


@pytest.mark.timeout(720)
def test_the_command_restarts_killed_processes(home: Path, tmp_path: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAILMART_")}
    port, metrics = free_port(), free_port()
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api", "run", "--workers", "2", "--concurrency", "1"],
            env={
                **inherited,
                "MAILMART_HOME": str(home),
                "MAILMART_PORT": str(port),
                "MAILMART_METRICS_PORT": str(metrics),
            },
            cwd=PROJECT_ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: "mailmart is running" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        _check_another_terminal(home, port)
        working = "mailmart_workers_alive 1.0"
        until(lambda: working in _text(f"http://127.0.0.1:{metrics}/metrics"))
        killed = {name: children(process.pid, name) for name in (b"\0serve\0", b"\0scheduler\0", b"\0worker\0")}
        assert [len(pids) for pids in killed.values()] == [1, 1, 1]
        for (pid,) in killed.values():
            os.kill(pid, signal.SIGKILL)
        until(lambda: all(children(process.pid, name) not in ([], before) for name, before in killed.items()))
        until(lambda: _responds(f"http://127.0.0.1:{port}/healthz"))
        process.terminate()
        assert process.wait(TIMEOUT_SECONDS * 2) == 0
    finally:
        if process.poll() is None:
            process.kill()
    text = log.read_text()
    assert "Traceback" not in text, text
    assert "was killed" not in text
    assert not (home / "running.env").exists()
    assert not servers.any_running(Settings(None, None, home))


@pytest.mark.timeout(360)
def test_a_database_whose_socket_folder_is_deleted_is_restarted_in_another_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # too long for a socket, so the sockets are in the system's folder of temporary files
    home = home / ("x" * 120)
    settings = Settings(None, None, home)
    servers.start(settings)
    before = embedded_database_url(home)
    folders = find_folders(home)
    pid = read_pid(folders.servers / "postgres" / "postmaster.pid")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: has_ended(pid))
    shutil.rmtree(folders.sockets)
    watchdog = ServerWatchdog(settings)
    watchdog.start()
    until(lambda: watchdog.url_changed)
    watchdog.stop()
    assert embedded_database_url(home) != before
    assert _database_responds(settings)
    # it ends again at once: a sentence, which the watchdog logs without a trace
    create = postgres._create_login_and_database

    def end_first(folders: Folders) -> None:
        ended = read_pid(folders.servers / "postgres" / "postmaster.pid")
        assert ended is not None
        os.kill(ended, signal.SIGQUIT)
        until(lambda: has_ended(ended))
        create(folders)

    monkeypatch.setattr(postgres, "_create_login_and_database", end_first)
    with pytest.raises(ServerError, match="PostgreSQL is not available right after its start: connection"):
        servers.start(settings)
    servers.stop(settings)
    shutil.rmtree(find_folders(home).sockets)


def test_a_deleted_home_folder_gets_no_empty_database(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    watchdog = ServerWatchdog(Settings(None, None, home / "deleted"))
    watchdog.start()
    until(lambda: "deleted was deleted" in caplog.text)
    watchdog.stop()
    assert not (home / "deleted").exists()


def _check_another_terminal(home: Path, port: int) -> None:
    """A command that knows the home folder only makes the URL of the running intake, and finds that it answers."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAILMART_")}
    created = subprocess.run(
        [sys.executable, "-m", "api", "sources", "create", "--workspace", "w", "--provider", "sendgrid"],
        env={**inherited, "MAILMART_HOME": str(home)},
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert created.stdout.startswith(f"http://127.0.0.1:{port + 10}/intake/sendgrid/"), created
    assert "no intake answers" not in created.stderr
    assert stat.S_IMODE((home / "running.env").stat().st_mode) == 0o600


def _database_responds(settings: Settings) -> bool:
    try:
        with psycopg.connect(embedded_database_url(settings.home), connect_timeout=5) as connection:
            return connection.execute("select 1").fetchone() == (1,)
    except psycopg.Error:
        return False


def _responds(address: str) -> bool:
    try:
        return bool(urllib.request.urlopen(address, timeout=5).status == 200)
    except OSError:
        return False


def _text(address: str) -> str:
    try:
        return str(urllib.request.urlopen(address, timeout=10).read().decode())
    except OSError:
        return ""
