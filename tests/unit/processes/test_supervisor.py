"""The supervisor restarts programs that end and stops them in order, tried with real processes that are killed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.processes.restarts import MAX_RESTART_DELAY, restart_delay
from api.processes.supervisor import Program, Supervisor
from api.settings import PROJECT_ROOT
from tests.support.programs import RECORDER, STUBBORN, children, has_ended, recorded_pids, until

pytestmark = pytest.mark.slow


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """The file to which the programs append."""
    path = tmp_path / "record"
    path.touch()
    return path


def recorder(name: str, record: Path) -> Program:
    return Program(name, [sys.executable, "-c", RECORDER, name, str(record)])


def stubborn(record: Path) -> Program:
    return Program("stubborn", [sys.executable, "-c", STUBBORN, str(record)], seconds_to_stop=1)


@contextmanager
def supervised(*programs: Program) -> Iterator[Supervisor]:
    supervisor = Supervisor(programs, {})
    try:
        yield supervisor
    finally:
        supervisor.stop()


def test_a_program_that_ends_is_restarted(record: Path, caplog: pytest.LogCaptureFixture) -> None:
    with supervised(recorder("one", record), recorder("two", record)) as supervisor, caplog.at_level(logging.INFO):
        until(lambda: recorded_pids(record, "one") and recorded_pids(record, "two"), supervisor.poll)
        os.kill(recorded_pids(record, "one")[0], signal.SIGKILL)
        until(lambda: len(recorded_pids(record, "one")) == 2, supervisor.poll)
        os.kill(recorded_pids(record, "one")[1], signal.SIGTERM)
        until(lambda: len(recorded_pids(record, "one")) == 3, supervisor.poll)
        assert len(recorded_pids(record, "two")) == 1
    first, second, _ = recorded_pids(record, "one")
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert warnings == [
        f"one (process {first}) ended by SIGKILL; restarting in 0.5 s",
        f"one (process {second}) exited with status 0; restarting in 1 s",
    ]


def test_restart_delay_doubles_up_to_its_maximum() -> None:
    delays = [restart_delay(crashes) for crashes in range(1, 10)]
    assert delays == [0.5, 1, 2, 4, 8, 16, MAX_RESTART_DELAY, MAX_RESTART_DELAY, MAX_RESTART_DELAY]
    assert restart_delay(10_000) == MAX_RESTART_DELAY


def test_restart_delay_starts_again_after_a_healthy_run(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.processes.restarts.FIRST_RESTART_DELAY", 0.01)
    with supervised(Program("brief", [sys.executable, "-c", "raise SystemExit(3)"])) as supervisor:
        until(lambda: len(caplog.records) == 4, supervisor.poll)
        # from now on every run counts as a healthy one
        monkeypatch.setattr("api.processes.restarts.HEALTHY_AFTER_SECONDS", 0.0)
        until(lambda: len(caplog.records) == 6, supervisor.poll)
    messages = [each.getMessage().split(") ")[1] for each in caplog.records]
    assert messages == [
        f"exited with status 3; restarting in {delay} s" for delay in ("0.01", "0.02", "0.04", "0.08", "0.01", "0.01")
    ]


def test_a_program_that_cannot_be_started_does_not_stop_the_others(caplog: pytest.LogCaptureFixture, record: Path) -> None:
    with supervised(Program("missing", ["/no/such/program"]), recorder("one", record)) as supervisor:
        until(lambda: len(caplog.records) == 2, supervisor.poll)
        until(lambda: recorded_pids(record, "one"), supervisor.poll)
    assert "missing cannot be started: No such file or directory" in caplog.text


def test_programs_stop_in_order_and_are_killed_after_their_time(record: Path, caplog: pytest.LogCaptureFixture) -> None:
    with supervised(recorder("first", record), stubborn(record), recorder("last", record)) as supervisor:
        until(lambda: len(record.read_text().splitlines()) == 4, supervisor.poll)
    assert record.read_text().splitlines()[4:] == ["first stops", "last stops"]
    parents = recorded_pids(record, "parent")
    assert f"stubborn (process {parents[0]}) did not stop within 1 s and was killed" in caplog.text
    until(lambda: all(has_ended(pid) for pid in parents + recorded_pids(record, "child")))


def test_the_children_of_a_killed_program_are_killed(record: Path) -> None:
    # a server's workers would keep its port
    with supervised(stubborn(record)) as supervisor:
        until(lambda: recorded_pids(record, "parent") and recorded_pids(record, "child"), supervisor.poll)
        os.kill(recorded_pids(record, "parent")[0], signal.SIGKILL)
        until(lambda: len(recorded_pids(record, "parent")) == 2, supervisor.poll)
        until(lambda: has_ended(recorded_pids(record, "child")[0]))


def test_all_programs_are_restarted_on_request(record: Path, caplog: pytest.LogCaptureFixture) -> None:
    with supervised(recorder("one", record), stubborn(record)) as supervisor:
        until(lambda: recorded_pids(record, "one") and recorded_pids(record, "parent"), supervisor.poll)
        supervisor.restart_all()
        until(lambda: len(recorded_pids(record, "one")) == len(recorded_pids(record, "parent")) == 2, supervisor.poll)
        # a requested restart is not a crash
        assert "restarting" not in caplog.text


@pytest.mark.parametrize("moment", ["at once", "later"])
def test_programs_end_with_a_killed_supervisor(record: Path, moment: str) -> None:
    child = "from api.processes.parent_death import end_with_parent; end_with_parent()\n" + RECORDER
    program = (
        "import sys, time; from api.processes.supervisor import Program, Supervisor\n"
        "supervisor = Supervisor([Program('one', [sys.executable, '-c', *sys.argv[1:]])], {})\n"
        "while True:\n"
        "    supervisor.poll(); print('polled', flush=True); time.sleep(0.1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, child, "one", str(record)], cwd=PROJECT_ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"polled\n"
    if moment == "later":
        until(lambda: recorded_pids(record, "one"))
    # at once: before the child can ask for the id of its parent
    (pid,) = children(process.pid)
    process.kill()
    process.wait()
    until(lambda: has_ended(pid))
