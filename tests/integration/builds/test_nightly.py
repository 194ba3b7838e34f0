"""One nightly run a day, missed runs caught up once, attempts and their ends, and what is reported."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from unittest.mock import Mock

import psycopg
import pytest

from api.builds.metrics import nightly_run_metrics
from api.builds.nightly import RetryPolicy, nightly_lock, run_due_nightly_run, run_manually
from api.builds.run_repository import NightlyRunRepository
from api.builds.schedule import latest_due
from api.db.advisory_lock import WhileHeld
from api.db.connection import connect
from api.errors import MailmartError
from api.observability.posthog import Telemetry
from api.processes.run import Ended, run_child
from api.settings import Settings
from tests.integration.builds.project import build, load_campaign, make_test_fail
from tests.integration.builds.queries import builds, nightly_runs, published_batch, rows
from tests.support.command import mailmart
from tests.support.dbt import dbt_process
from tests.support.waiting import wait_for_waiting, wait_until

pytestmark = pytest.mark.timeout(900)

WITHOUT_DELAY = RetryPolicy(between_attempts=(0, 0), while_busy=0.1)
NEVER = threading.Event()


def run_due(settings: Settings) -> None:
    run_due_nightly_run(settings, NEVER, WITHOUT_DELAY)


def metrics(settings: Settings) -> dict[str, list[float]]:
    """The values of each metric of nightly runs."""
    with connect(settings, "mailmart_worker") as connection:
        return {
            metric.name.removeprefix("mailmart_"): [value for _, value in metric.values]
            for metric in nightly_run_metrics(connection)
        }


def is_open(settings: Settings, due: datetime) -> bool:
    with connect(settings, "mailmart_worker") as connection:
        return NightlyRunRepository(connection, settings.target).is_open(due)


def test_missed_runs_are_caught_up_once(project: Settings) -> None:
    due = latest_due(datetime.now(UTC), project.nightly_at)
    with connect(project, "mailmart_worker") as connection:
        # the last run was a week ago, and a process that died left another one open
        connection.execute(
            "insert into app.nightly_runs (target, scheduled_for, status, attempts, ended_at) values"
            " ('production', %s, 'succeeded', 1, now()), ('production', %s, 'running', 1, null)",
            (due - timedelta(days=7), due - timedelta(days=3)),
        )
    run_due(project)
    run_due(project)
    assert builds(project) == [("build", "published")]
    assert nightly_runs(project) == [("succeeded", 1), ("failed", 1), ("succeeded", 1)]
    assert rows(project, "select max(scheduled_for) from app.nightly_runs") == [(due,)]

    # at another time of day it is due again, because the publication is older
    later = dataclasses.replace(project, nightly_at=datetime.now(UTC).replace(second=0).time())
    rows(project, "update app.batches set started_at = started_at - interval '1 day' returning 1")
    assert is_open(later, latest_due(datetime.now(UTC), later.nightly_at))
    with nightly_lock(later) as lock:
        # another process is running it
        assert lock.acquire()
        run_due(later)
        assert len(nightly_runs(project)) == 3
        refused = mailmart(project, "batch", "run")
        assert refused.exit_code == 1
        assert "a nightly run is already running" in refused.output


def test_nothing_is_due_after_a_publication(project: Settings) -> None:
    assert build(project).status == "published"
    run_due(project)
    assert nightly_runs(project) == []
    assert not any(metrics(project).values())


def test_three_failed_attempts_publish_nothing(
    project: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_campaign(project, "c1")
    make_test_fail(project, "second")
    opened = Mock(wraps=psycopg.connect)
    with caplog.at_level(logging.INFO), monkeypatch.context() as patch:
        patch.setattr(psycopg, "connect", opened)
        run_due(project)
    # one to look what is due, and one for the lock and all attempts
    assert opened.call_count == 2
    run_due(project)
    assert builds(project) == [("build", "failed"), ("retry", "failed"), ("retry", "failed")]
    # only what failed ran again
    assert rows(project, "select distinct batch_id from app.model_runs") == [(1,)]
    assert nightly_runs(project) == [("failed", 3)]
    assert published_batch(project) is None
    (error,) = rows(project, "select error from app.nightly_runs")[0]
    assert error.startswith("second_is_valid: Got 1 result")
    ends = [record for record in caplog.records if record.getMessage().startswith("nightly run failed")]
    assert [record.levelname for record in ends] == ["ERROR"]
    assert metrics(project) == {
        "last_successful_nightly_run_timestamp_seconds": [],
        "last_nightly_run_failed": [1.0],
        "nightly_runs_failed": [1],
        "last_nightly_run_attempts": [3],
    }

    status = mailmart(project, "batch", "status")
    assert status.exit_code == 0, status.output
    for said in (
        "nothing is published yet",
        "failed            3",
        "second_is_valid: Got 1 result",
        "is due at",
        "batch 3: failed",
    ):
        assert said in status.output


def test_every_run_begins_with_a_whole_build(project: Settings) -> None:
    make_test_fail(project, "second")
    run_due(project)
    assert nightly_runs(project) == [("failed", 3)]
    # a day later: a manual run, and the next nightly run
    rows(project, "update app.nightly_runs set scheduled_for = scheduled_for - interval '1 day' returning 1")
    assert not run_manually(project, NEVER, lambda _: None, WITHOUT_DELAY)
    run_due(project)
    assert builds(project) == [("build", "failed"), ("retry", "failed"), ("retry", "failed")] * 3


def test_manual_runs_are_not_in_the_metrics(settings: Settings) -> None:
    with connect(settings, "mailmart_worker") as connection:
        connection.execute(
            "insert into app.nightly_runs (target, scheduled_for, status, attempts, ended_at, is_manual) values"
            " ('production', now() - interval '1 hour', 'succeeded', 1, now() - interval '1 hour', false),"
            " ('production', now(), 'failed', 3, now(), true)"
        )
    found = metrics(settings)
    assert found["last_nightly_run_failed"] == [0.0]
    assert found["nightly_runs_failed"] == [0]
    assert found["last_nightly_run_attempts"] == [1]


def test_a_run_abandoned_in_its_last_attempt_is_reported_as_failed(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, Any]] = []
    monkeypatch.setattr(Telemetry, "capture", lambda self, event, properties: events.append((event, properties["attempts"])))
    due = latest_due(datetime.now(UTC), settings.nightly_at)
    with connect(settings, "mailmart_worker") as connection:
        connection.execute("insert into app.nightly_runs (target, scheduled_for, attempts) values ('production', %s, 3)", (due,))
    run_due(settings)
    assert nightly_runs(settings) == [("failed", 3)]
    assert builds(settings) == []
    assert [record.levelname for record in caplog.records if "failed" in record.getMessage()] == ["ERROR"]
    assert events == [("batch_failed", 3)]


def test_a_run_abandoned_after_its_publication_succeeds_without_a_build(project: Settings) -> None:
    assert build(project).status == "published"
    due = latest_due(datetime.now(UTC), project.nightly_at)
    with connect(project, "mailmart_worker") as connection:
        connection.execute("insert into app.nightly_runs (target, scheduled_for, attempts) values ('production', %s, 1)", (due,))
    run_due(project)
    assert rows(project, "select status, attempts, batch_id from app.nightly_runs") == [("succeeded", 1, 1)]
    assert builds(project) == [("build", "published")]


def test_a_connection_lost_at_the_end_of_a_build_hides_no_publication(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_and_lose_connections(*arguments: Any, **options: Any) -> Ended:
        ended = run_child(*arguments, **options)
        with connect(project, None) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        return ended

    monkeypatch.setattr("api.builds.dbt_attempt.run_child", run_and_lose_connections)
    run_due(project)
    assert nightly_runs(project) == [("succeeded", 1)]


def test_the_databases_clock_decides_what_is_due(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Ahead:
            return cls.fromtimestamp(time.time() + 86_400, tz)

    with connect(project, "mailmart_worker") as connection:
        ((now,),) = connection.execute("select clock_timestamp()").fetchall()
    monkeypatch.setattr("api.builds.nightly.datetime", Ahead, raising=False)
    run_due(project)
    assert rows(project, "select scheduled_for from app.nightly_runs") == [(latest_due(now, project.nightly_at),)]
    assert run_manually(project, NEVER, lambda _: None, WITHOUT_DELAY)
    ((latest,),) = rows(project, "select max(scheduled_for) from app.nightly_runs")
    assert latest - now < timedelta(hours=1)


def test_a_manual_run(project: Settings) -> None:
    load_campaign(project, "c1")
    lines: list[str] = []
    assert run_manually(project, NEVER, lines.append, WITHOUT_DELAY)
    assert any("Completed successfully" in line for line in lines)
    assert nightly_runs(project) == [("succeeded", 1)]
    status = mailmart(project, "batch", "status").output
    for text in ("batch 1 is published since", "by hand", "batch 1: published", "second"):
        assert text in status
    # while another build is running, it is refused, and the other one is not disturbed
    with connect(project, "mailmart_owner") as lock:
        lock.execute("lock table core.first in access exclusive mode")
        other = dbt_process(project, "build", target_path="other")
        wait_for_waiting(project)
        with pytest.raises(MailmartError, match="build 2 is running since"):
            run_manually(project, NEVER, lines.append, WITHOUT_DELAY)
        lock.rollback()
    assert other.wait(timeout=60) == 0
    assert builds(project) == [("build", "published")] * 2
    assert [status for status, _ in nightly_runs(project)] == ["succeeded", "failed"]


def test_a_nightly_run_waits_for_another_build(project: Settings, caplog: pytest.LogCaptureFixture) -> None:
    assert build(project).status == "published"
    rows(project, "update app.batches set started_at = started_at - interval '3 days' returning 1")
    caplog.set_level(logging.INFO)
    with connect(project, "mailmart_owner") as lock:
        lock.execute("lock table core.first in access exclusive mode")
        other = dbt_process(project, "build", "--select", "first", target_path="other")
        wait_for_waiting(project)
        run = threading.Thread(target=run_due, args=(project,))
        run.start()
        wait_until(lambda: "nightly run: waiting, build 2 is running since" in caplog.text, "the nightly run waits")
        lock.rollback()
        assert other.wait(timeout=60) == 0
        run.join(timeout=120)
    assert builds(project) == [("build", "published"), ("build", "built"), ("build", "published")]
    # the refused attempts do not count
    assert nightly_runs(project) == [("succeeded", 1)]


def test_a_stopped_run_is_resumed(project: Settings) -> None:
    assert build(project).status == "published"
    rows(project, "update app.batches set started_at = started_at - interval '3 days' returning 1")
    stopping = threading.Event()
    with connect(project, "mailmart_owner") as lock:
        lock.execute("lock table core.first in access exclusive mode")
        run = threading.Thread(target=run_due_nightly_run, args=(project, stopping, WITHOUT_DELAY))
        run.start()
        wait_for_waiting(project)
        stopping.set()
        run.join(timeout=90)
        assert not run.is_alive()
        lock.rollback()
    # a stopped attempt is no failure, and does not count
    assert nightly_runs(project) == [("running", 0)]
    assert published_batch(project) == 1
    run_due(project)
    assert nightly_runs(project) == [("succeeded", 1)]
    assert builds(project) == [("build", "published"), ("build", "abandoned"), ("build", "published")]


def test_the_end_of_dbt_is_noticed_soon(settings: Settings) -> None:
    with nightly_lock(settings) as lock:
        assert lock.acquire()
        work = WhileHeld(lock, threading.Event())
        seconds = []
        for _ in range(3):
            began = time.monotonic()
            assert run_child(["sleep", "0.05"], os.environ, settings.home, should_continue=work.should_continue).status == 0
            seconds.append(time.monotonic() - began)
        # it was half a second
        assert min(seconds) < 0.4
