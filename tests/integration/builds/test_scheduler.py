"""One scheduler leads; another takes over when it dies, and nothing runs twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path

import pytest
from apscheduler.triggers.interval import IntervalTrigger
from psycopg import sql

from api.db.advisory_lock import AdvisoryLock
from api.db.connection import connect
from api.scheduler.leader import run_scheduler
from api.scheduler.schedule import Job
from api.settings import PROJECT_ROOT, Settings
from tests.integration.builds.processes import scheduler
from tests.integration.builds.queries import builds, nightly_runs, published_batch, rows
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_for_waiting, wait_until


@pytest.mark.timeout(900)
def test_two_schedulers_make_one_nightly_run(project: Settings, tmp_path: Path) -> None:
    logs = [tmp_path / name for name in ("first", "second", "third")]
    with scheduler(project, logs[0]) as first, connect(project, "mailmart_owner") as lock:
        # the build waits for this lock
        lock.execute("lock table raw.campaigns in access exclusive mode")
        wait_for_waiting(project)
        with scheduler(project, logs[1]) as second:
            wait_until(lambda: b"on standby" in logs[1].read_bytes(), "the second scheduler is on standby")
            assert builds(project) == [("build", "running")]
            child = _only_child(first)
            first.kill()
            first.wait()
            # while the build waits for the lock it cannot be published, so it ends before that and is made again
            wait_until(lambda: not _runs(child), "the build of the killed scheduler has ended")
            lock.rollback()
            wait_until(lambda: b'"leading"' in logs[1].read_bytes(), "the second scheduler leads")
            wait_until(lambda: nightly_runs(project) == [("succeeded", 2)], "the nightly run has succeeded", 600)
            assert builds(project) == [("build", "abandoned"), ("build", "published")]
            assert published_batch(project) == 2

            # a leader whose connection dies stops leading; no other scheduler is on standby, so it leads again
            _end_connections_that_lock(project)
            wait_until(lambda: b"no longer leading" in logs[1].read_bytes(), "the leader stops leading")
            wait_until(lambda: logs[1].read_bytes().count(b'"leading"') == 2, "it leads again")
            second.send_signal(signal.SIGTERM)
            assert second.wait(timeout=90) == 0
    # the run is not repeated
    with scheduler(project, logs[2]) as third:
        wait_until(lambda: b'"leading"' in logs[2].read_bytes(), "the third scheduler leads")
        time.sleep(1)
        third.send_signal(signal.SIGINT)
        assert third.wait(timeout=90) == 0
    assert nightly_runs(project) == [("succeeded", 2)]
    assert len(builds(project)) == 2
    assert b"Traceback" not in b"".join(log.read_bytes() for log in logs)


def test_a_released_lock_is_free_at_once(settings: Settings) -> None:
    # its session ends a little later: retention ended, and compression did not get the lock
    is_free = "select pg_try_advisory_xact_lock(hashtextextended('mailmart.retention.production', 0))"
    with connect(settings, "mailmart_owner", autocommit=True) as other:
        for _ in range(50):
            with AdvisoryLock(settings, "mailmart.retention.production") as lock:
                assert lock.acquire()
            assert other.execute(is_free).fetchone() == (True,)


def test_a_scheduler_ends_with_its_parent(settings: Settings, tmp_path: Path) -> None:
    # nothing is due
    rows(
        settings,
        "insert into app.batches (target, invocation_id, command, status)"
        " values ('production', 'i', 'build', 'built') returning 1",
    )
    rows(
        settings,
        "insert into app.publications (target, batch_id, data_as_of, contract)"
        " values ('production', 1, clock_timestamp() + interval '1 day', '{}') returning 1",
    )
    started = (
        "import subprocess, sys, time; "
        "print(subprocess.Popen([sys.executable, '-m', 'api', 'scheduler', '--with-parent']).pid, flush=True); "
        "time.sleep(300)"
    )
    log = tmp_path / "log"
    with log.open("wb") as output:
        parent = subprocess.Popen(
            [sys.executable, "-c", started],
            env={**os.environ, "MAILMART_DATABASE_URL": str(settings.database_url), "MAILMART_HOME": str(settings.home)},
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            stderr=output,
        )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    # not by the lock: a session of this process that has just closed can still have it
    wait_until(lambda: b'"leading"' in log.read_bytes(), "it leads")
    parent.kill()
    parent.wait()
    wait_until(lambda: not _runs(pid), "it ends")
    with AdvisoryLock(settings, "mailmart.scheduler.production") as lock:
        wait_until(lock.acquire, "its lock is free")


@contextmanager
def leading(settings: Settings, *jobs: Job) -> Iterator[threading.Event]:
    """Runs a scheduler of these jobs in a thread; yields the event that stops it."""
    stopping = threading.Event()
    thread = threading.Thread(target=run_scheduler, args=(settings, stopping, lambda *_: list(jobs)))
    thread.start()
    try:
        yield stopping
    finally:
        stopping.set()
        thread.join(timeout=90)
        assert not thread.is_alive()


def ten_times_a_second(name: str, run: partial[None]) -> Job:
    return Job(name, IntervalTrigger(seconds=0.1, timezone=UTC), run)


def test_a_job_that_fails_is_run_again(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []

    def fails(name: str) -> None:
        calls.append(name)
        raise ValueError(name)

    with leading(
        settings, ten_times_a_second("one", partial(fails, "one")), ten_times_a_second("other", partial(fails, "other"))
    ):
        wait_until(lambda: calls.count("one") > 2 and calls.count("other") > 2, "both run several times")
    assert "one failed" in {record.getMessage() for record in caplog.records}


def test_a_job_never_runs_twice_at_a_time(settings: Settings) -> None:
    running: list[int] = []
    concurrent: list[int] = []

    def slow() -> None:
        running.append(1)
        concurrent.append(len(running))
        time.sleep(0.5)
        running.pop()

    with leading(settings, ten_times_a_second("slow", partial(slow))):
        wait_until(lambda: len(concurrent) > 2, "it runs again")
    assert set(concurrent) == {1}
    # the last one was finished
    assert running == []


def test_jobs_go_on_if_the_clock_is_set_back(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine can start with a clock that is years ahead, until it finds a time server."""
    ahead = timedelta(days=1000)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + ahead

    for module in ("apscheduler.schedulers.base", "api.scheduler.leader"):
        monkeypatch.setattr(f"{module}.datetime", Clock)
    calls: list[float] = []
    with leading(settings, ten_times_a_second("one", partial(calls.append, 1.0))):
        wait_until(lambda: len(calls) > 2, "it runs")
        ahead = timedelta(0)
        number = len(calls)
        wait_until(lambda: len(calls) > number + 2, "it runs after the clock was set back")


def test_an_unavailable_database_interrupts_leading(settings: Settings, server: PostgresServer) -> None:
    calls: list[float] = []
    name = str(settings.database_url).split("@/")[1].split("?")[0]

    def allow(is_allowed: str) -> None:
        with server.as_superuser() as connection:
            statement = sql.SQL("alter database {} allow_connections {}")
            connection.execute(statement.format(sql.Identifier(name), sql.SQL(is_allowed)))
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))

    with leading(settings, ten_times_a_second("job", partial(lambda: calls.append(time.monotonic())))):
        wait_until(lambda: calls, "it leads")
        allow("false")
        wait_until(lambda: time.monotonic() - calls[-1] > 1, "it stops leading")
        count = len(calls)
        time.sleep(3)
        assert len(calls) == count
        allow("true")
        wait_until(lambda: len(calls) > count, "it leads again")


def _only_child(process: subprocess.Popen[bytes]) -> int:
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    (child,) = (child for task in tasks for child in (task / "children").read_text().split())
    return int(child)


def _runs(pid: int) -> bool:
    try:
        # a zombie has ended, too: its new parent may not have reaped it
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def _end_connections_that_lock(settings: Settings) -> None:
    with connect(settings, None) as connection:
        ended = connection.execute(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
            " and database = (select oid from pg_database where datname = current_database())"
        ).fetchall()
    assert (True,) in ended
