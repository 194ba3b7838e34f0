"""What dies is started again, what is stopped ends in order, and nothing is left behind: with real processes, killed."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from api.embedded import postgres, servers, valkey
from api.embedded.database_url import embedded_database_url
from api.embedded.paths import find_folders
from api.embedded.processes import remembered_pid
from api.embedded.watchdog import ServerWatchdog
from api.processes.supervisor import MAX_WAIT, Program, Supervisor, wait_after
from api.settings import PROJECT_ROOT, Settings
from tests.support.ports import free_port

PATIENCE = 60

# notes its name and number in a file when it starts, and its name when it is told to end
LIVES = """
import os, signal, sys, time
name, notes = sys.argv[1:3]
def note(line):
    with open(notes, "a") as file:
        file.write(line + "\\n")
def end(*_):
    time.sleep(0.3)
    note(f"{name} ends")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
note(f"{name} {os.getpid()}")
while True:
    time.sleep(0.1)
"""
# does not listen, and has a child that does not, either
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
with open(sys.argv[1], "a") as file:
    file.write(f"{'parent' if child else 'child'} {os.getpid()}\\n")
time.sleep(600)
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes"
    path.touch()
    return path


def lives(name: str, notes: Path, **options: float) -> Program:
    return Program(name, [sys.executable, "-c", LIVES, name, str(notes)], **options)


@contextmanager
def supervised(*programs: Program) -> Iterator[Supervisor]:
    supervisor = Supervisor(programs, {})
    try:
        yield supervisor
    finally:
        supervisor.stop()


def until(what: Callable[[], object], look: Callable[[], None] = lambda: None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        look()
        time.sleep(0.02)


def numbers(notes: Path, name: str) -> list[int]:
    """Of the processes that have noted that they run, in order."""
    found = [line.split() for line in notes.read_text().splitlines()]
    return [int(words[1]) for words in found if words[0] == name and words[1].isdigit()]


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_who_dies_is_started_again(notes: Path, caplog: pytest.LogCaptureFixture) -> None:
    with supervised(lives("one", notes), lives("two", notes)) as supervisor, caplog.at_level(logging.INFO):
        until(lambda: numbers(notes, "one") and numbers(notes, "two"), supervisor.look)
        os.kill(numbers(notes, "one")[0], signal.SIGKILL)
        until(lambda: len(numbers(notes, "one")) == 2, supervisor.look)
        os.kill(numbers(notes, "one")[1], signal.SIGTERM)
        until(lambda: len(numbers(notes, "one")) == 3, supervisor.look)
        assert len(numbers(notes, "two")) == 1
    first, second, _ = numbers(notes, "one")
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == [
        f"one (process {first}) was ended by SIGKILL; it is started again in 0.5 s",
        f"one (process {second}) has ended with status 0; it is started again in 1 s",
    ]


def test_waits_grow_and_begin_anew(notes: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = [wait_after(deaths) for deaths in range(1, 10)]
    assert waits == [0.5, 1, 2, 4, 8, 16, MAX_WAIT, MAX_WAIT, MAX_WAIT]
    assert wait_after(10_000) == MAX_WAIT
    monkeypatch.setattr("api.processes.supervisor.FIRST_WAIT", 0.01)
    with supervised(Program("brief", [sys.executable, "-c", "raise SystemExit(3)"])) as supervisor:
        until(lambda: len(caplog.records) == 4, supervisor.look)
        # whatever it is, it has lived for long enough now
        monkeypatch.setattr("api.processes.supervisor.LONG_ENOUGH", 0.0)
        until(lambda: len(caplog.records) == 6, supervisor.look)
    said = [record.getMessage().split("brief ")[1].split(") ")[1] for record in caplog.records]
    assert said == [
        f"has ended with status 3; it is started again in {wait} s" for wait in ("0.01", "0.02", "0.04", "0.08", "0.01", "0.01")
    ]


def test_a_program_that_cannot_be_started(caplog: pytest.LogCaptureFixture, notes: Path) -> None:
    with supervised(Program("nothing", ["/nowhere/at/all"]), lives("one", notes)) as supervisor:
        until(lambda: len(caplog.records) == 2, supervisor.look)
        until(lambda: numbers(notes, "one"), supervisor.look)
    assert "nothing cannot be started: No such file or directory" in caplog.text


def test_they_are_stopped_in_order_each_in_its_time(notes: Path, caplog: pytest.LogCaptureFixture) -> None:
    stubborn = Program("stubborn", [sys.executable, "-c", STUBBORN, str(notes)], seconds_to_stop=1)
    with supervised(lives("first", notes), stubborn, lives("last", notes)) as supervisor:
        until(lambda: len(notes.read_text().splitlines()) == 4, supervisor.look)
    assert notes.read_text().splitlines()[4:] == ["first ends", "last ends"]
    assert f"stubborn (process {numbers(notes, 'parent')[0]}) did not end in 1 s, and was killed" in caplog.text
    until(lambda: all(has_ended(pid) for pid in numbers(notes, "parent") + numbers(notes, "child")))


def test_what_a_killed_program_had_started_ends_with_it(notes: Path) -> None:
    # a server's workers would keep its port
    with supervised(Program("stubborn", [sys.executable, "-c", STUBBORN, str(notes)], seconds_to_stop=1)) as supervisor:
        until(lambda: numbers(notes, "parent") and numbers(notes, "child"), supervisor.look)
        os.kill(numbers(notes, "parent")[0], signal.SIGKILL)
        until(lambda: len(numbers(notes, "parent")) == 2, supervisor.look)
        until(lambda: has_ended(numbers(notes, "child")[0]))


def test_all_are_renewed_at_once(notes: Path, caplog: pytest.LogCaptureFixture) -> None:
    stubborn = Program("stubborn", [sys.executable, "-c", STUBBORN, str(notes)], seconds_to_stop=1)
    with supervised(lives("one", notes), stubborn) as supervisor:
        until(lambda: numbers(notes, "one") and numbers(notes, "parent"), supervisor.look)
        supervisor.renew()
        until(lambda: len(numbers(notes, "one")) == len(numbers(notes, "parent")) == 2, supervisor.look)
        # it was our own doing, and is no death
        assert "started again" not in caplog.text


@pytest.mark.parametrize("moment", ["at once", "later"])
def test_they_die_with_a_killed_supervisor(notes: Path, moment: str) -> None:
    child = "from api.processes.parent_death import end_with_parent; end_with_parent()\n" + LIVES
    program = (
        "import sys, time; from api.processes.supervisor import Program, Supervisor\n"
        "supervisor = Supervisor([Program('one', [sys.executable, '-c', *sys.argv[1:]])], {})\n"
        "while True:\n"
        "    supervisor.look(); print('looked', flush=True); time.sleep(0.1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, child, "one", str(notes)], cwd=PROJECT_ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"looked\n"
    if moment == "later":
        until(lambda: numbers(notes, "one"))
    # at once: before it can have asked for its parent's number
    (pid,) = _children(process.pid)
    process.kill()
    process.wait()
    until(lambda: has_ended(pid))


# the whole of it: embedded servers, the real service, and two small programs in the places of worker and scheduler
WHOLE = """
import sys
from api.cli.stack import programs, run, started_servers
from api.observability.logs import configure_logs
from api.settings import Settings
from api.processes.supervisor import Program

lives, notes = sys.argv[1:]
configure_logs()
settings = Settings.from_environment()
serve = programs()[0]
others = [Program(name, [sys.executable, "-c", lives, name, notes]) for name in ("scheduler", "worker")]
with started_servers(settings) as endings:
    run(settings, [serve, *others], endings, lambda: print("it runs", flush=True), ready="/healthz")
print("all is over", flush=True)
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that everybody may walk through: as root the servers run as somebody else."""
    folder = Path(tempfile.mkdtemp(prefix="mailmart-together-"))
    folder.chmod(0o755)
    yield folder
    servers.stop(Settings(None, None, folder))
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole(home: Path, notes: Path, port: int) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """All of it, from when it runs; ended with the block."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAILMART_")}
    log = notes.with_name("log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", WHOLE, LIVES, str(notes)],
            env={**inherited, "MAILMART_HOME": str(home), "MAILMART_PORT": str(port)},
            cwd=PROJECT_ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: "it runs" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield process, log
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE)


@pytest.mark.timeout(240)
def test_everything_comes_back_and_ends_in_order(home: Path, notes: Path) -> None:
    port = free_port()
    settings = Settings(None, None, home, port=port)
    with whole(home, notes, port) as (process, log):
        folders = find_folders(home)
        until(lambda: numbers(notes, "worker") and numbers(notes, "scheduler"))
        # the database, the limits' server, the worker: killed all at once
        killed = [
            remembered_pid(folders.servers / "postgres" / "postmaster.pid"),
            remembered_pid(folders.servers / "valkey.pid"),
            numbers(notes, "worker")[0],
        ]
        for pid in killed:
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(numbers(notes, "worker")) == 2)
        until(lambda: valkey.is_running(folders) and postgres.is_running(folders))
        until(lambda: _answers(settings))
        # the service itself, with its workers, which would keep the port
        (server,) = _children(process.pid, b"serve")
        os.kill(server, signal.SIGKILL)
        until(lambda: _children(process.pid, b"serve") not in ([], [server]))
        until(lambda: _reads(f"http://127.0.0.1:{port}/healthz"))
        # a second one, and a demo, is refused
        second = subprocess.run(
            [sys.executable, "-c", WHOLE, LIVES, str(notes)],
            env={**os.environ, "MAILMART_HOME": str(home), "MAILMART_PORT": str(free_port())},
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert second.returncode == 1
        assert "runs here already" in second.stderr
        # an impatient user
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        assert process.wait(PATIENCE) == 0, log.read_text()
        said = log.read_text()
    assert "all is over" in said
    assert "Traceback" not in said
    assert f"worker (process {killed[2]}) was ended by SIGKILL" in said
    assert "PostgreSQL" in said
    assert notes.read_text().splitlines()[-2:] == ["scheduler ends", "worker ends"]
    assert has_ended(numbers(notes, "worker")[1])
    assert not servers.are_running(settings)
    assert not _reads(f"http://127.0.0.1:{port}/healthz")


@pytest.mark.timeout(240)
def test_servers_that_ran_before_are_left_running_and_a_killed_ones_are_taken_over(home: Path, notes: Path) -> None:
    settings = Settings(None, None, home)
    port = free_port()
    with whole(home, notes, port) as (process, _):
        until(lambda: numbers(notes, "worker"))
        children = _children(process.pid)
        process.kill()
        process.wait()
    # small programs do not look after their parent; the service does
    for pid in numbers(notes, "worker") + numbers(notes, "scheduler"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: all(has_ended(pid) for pid in children))
    assert servers.are_running(settings)
    with whole(home, notes, port):
        pass
    assert not servers.are_running(settings)
    servers.start(settings)
    with whole(home, notes, port):
        pass
    assert servers.are_running(settings)


@pytest.mark.timeout(240)
def test_the_command_itself(home: Path, tmp_path: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAILMART_")}
    port, metrics = free_port(), free_port()
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api", "up", "--all", "--workers", "2", "--concurrency", "1"],
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
        until(lambda: "mailmart runs" in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        working = "mailmart_workers_alive 1.0"
        until(lambda: working in _text(f"http://127.0.0.1:{metrics}/metrics"))
        killed = {name: _children(process.pid, name) for name in (b"\0serve\0", b"\0scheduler\0", b"\0worker\0")}
        assert [len(pids) for pids in killed.values()] == [1, 1, 1]
        for (pid,) in killed.values():
            os.kill(pid, signal.SIGKILL)
        until(lambda: all(_children(process.pid, name) not in ([], before) for name, before in killed.items()))
        until(lambda: _reads(f"http://127.0.0.1:{port}/healthz"))
        process.terminate()
        assert process.wait(PATIENCE * 2) == 0
    finally:
        if process.poll() is None:
            process.kill()
    said = log.read_text()
    assert "Traceback" not in said, said
    assert "was killed" not in said
    assert not servers.are_running(Settings(None, None, home))


@pytest.mark.timeout(120)
def test_a_database_that_comes_back_at_another_port(home: Path) -> None:
    settings = Settings(None, None, home)
    servers.start(settings)
    before = embedded_database_url(home)
    folders = find_folders(home)
    pid = remembered_pid(folders.servers / "postgres" / "postmaster.pid")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: has_ended(pid))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(str(conninfo_to_dict(before)["port"]))))
        other.listen()
        keeper = ServerWatchdog(settings)
        keeper.start()
        until(lambda: keeper.has_moved)
        keeper.stop()
    assert embedded_database_url(home) != before
    assert _answers(settings)


def test_a_home_folder_that_is_gone_gets_no_empty_database(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeper = ServerWatchdog(Settings(None, None, home / "gone"))
    keeper.start()
    until(lambda: "gone is gone" in caplog.text)
    keeper.stop()
    assert not (home / "gone").exists()


def _answers(settings: Settings) -> bool:
    try:
        with psycopg.connect(embedded_database_url(settings.home), connect_timeout=5) as connection:
            return connection.execute("select 1").fetchone() == (1,)
    except psycopg.Error:
        return False


def _reads(address: str) -> bool:
    try:
        return bool(urllib.request.urlopen(address, timeout=5).status == 200)
    except OSError:
        return False


def _text(address: str) -> str:
    try:
        return str(urllib.request.urlopen(address, timeout=10).read().decode())
    except OSError:
        return ""


def _children(pid: int, word: bytes = b"") -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid and word in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found
