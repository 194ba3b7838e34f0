"""One run a night, missed ones made up for once, attempts that end, and what is told."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import psycopg
import pytest

from api.builds.metrics import nightly_run_metrics
from api.builds.nightly import RetryPolicy, lock_of_runs, run_by_hand, run_due_night
from api.builds.run_repository import NightlyRunRepository
from api.builds.schedule import latest_due
from api.db.connection import Role, connect
from api.errors import MailmartError
from api.observability.posthog import Telemetry
from api.settings import Settings
from tests.integration.builds.project import break_it, build, land_campaign
from tests.integration.builds.queries import builds, nights, rows, served
from tests.support.command import mailmart
from tests.support.dbt import dbt_process
from tests.support.waiting import wait_for_waiting

pytestmark = pytest.mark.timeout(300)

AT_ONCE = RetryPolicy(between_tries=(0, 0), while_busy=0.1)
NEVER = threading.Event()


def test_missed_nights_are_made_up_for_once(project: Settings) -> None:
    due = latest_due(datetime.now(UTC), project.nightly_at)
    with connect(project, "mailmart_worker") as connection:
        # the last one was a week ago, and one was left by a process that died
        connection.execute(
            "insert into app.nightly_runs (target, scheduled_for, status, attempts, ended_at) values"
            " ('production', %s, 'succeeded', 1, now()), ('production', %s, 'running', 1, null)",
            (due - timedelta(days=7), due - timedelta(days=3)),
        )
    run_due_night(project, NEVER, AT_ONCE)
    run_due_night(project, NEVER, AT_ONCE)
    assert builds(project) == [("build", "published")]
    assert nights(project) == [("succeeded", 1), ("failed", 1), ("succeeded", 1)]
    assert rows(project, "select max(scheduled_for) from app.nightly_runs") == [(due,)]

    # another time of day: due again, and not done, because what is published is older
    later = dataclasses.replace(project, nightly_at=datetime.now(UTC).replace(second=0).time())
    rows(project, "update app.publications set data_as_of = data_as_of - interval '1 day' returning 1")
    assert NightlyRunRepository(later).is_open(latest_due(datetime.now(UTC), later.nightly_at))
    with lock_of_runs(later) as lock:
        # somebody is at it
        assert lock.acquire()
        run_due_night(later, NEVER, AT_ONCE)
        assert len(nights(project)) == 3
        refused = mailmart(project, "batch", "run")
        assert refused.exit_code == 1
        assert "a nightly run is going on" in refused.output


def test_what_somebody_published_since_need_not_be_run(project: Settings) -> None:
    assert build(project).status == "published"
    run_due_night(project, NEVER, AT_ONCE)
    assert nights(project) == []
    with connect(project, "mailmart_worker") as connection:
        assert not any(figure.values for figure in nightly_run_metrics(connection))


def test_three_tries_and_nothing_is_published(project: Settings, caplog: pytest.LogCaptureFixture) -> None:
    land_campaign(project, "c1")
    break_it(project, "second")
    with caplog.at_level(logging.INFO):
        run_due_night(project, NEVER, AT_ONCE)
    run_due_night(project, NEVER, AT_ONCE)
    assert builds(project) == [("build", "failed"), ("retry", "failed"), ("retry", "failed")]
    # only what failed ran again
    assert rows(project, "select distinct batch_id from app.model_runs") == [(1,)]
    assert nights(project) == [("failed", 3)]
    assert served(project) is None
    (error,) = rows(project, "select error from app.nightly_runs")[0]
    assert error.startswith("second_is_whole: Got 1 result")
    ends = [record for record in caplog.records if record.getMessage().startswith("nightly run failed")]
    assert [record.levelname for record in ends] == ["ERROR"]
    with connect(project, "mailmart_worker") as connection:
        figures = {
            figure.name.removeprefix("mailmart_"): [value for _, value in figure.values]
            for figure in nightly_run_metrics(connection)
        }
    assert figures == {
        "last_successful_night_timestamp_seconds": [],
        "last_night_failed": [1.0],
        "nights_failed": [1],
        "last_night_tries": [3],
    }

    status = mailmart(project, "batch", "status")
    assert status.exit_code == 0, status.output
    for said in ("nothing is served yet", "failed            3", "second_is_whole: Got 1 result", "is due at", "batch 3: failed"):
        assert said in status.output


def test_a_run_begins_whole_whatever_failed_before_it(project: Settings) -> None:
    break_it(project, "second")
    run_due_night(project, NEVER, AT_ONCE)
    assert nights(project) == [("failed", 3)]
    # that was last night; then somebody runs it, and after that the next night is due
    rows(project, "update app.nightly_runs set scheduled_for = scheduled_for - interval '1 day' returning 1")
    assert not run_by_hand(project, NEVER, lambda _: None, AT_ONCE)
    run_due_night(project, NEVER, AT_ONCE)
    assert builds(project) == [("build", "failed"), ("retry", "failed"), ("retry", "failed")] * 3


def test_a_run_by_hand_says_nothing_of_the_nights(settings: Settings) -> None:
    with connect(settings, "mailmart_worker") as connection:
        connection.execute(
            "insert into app.nightly_runs (target, scheduled_for, status, attempts, ended_at, is_manual) values"
            " ('production', now() - interval '1 hour', 'succeeded', 1, now() - interval '1 hour', false),"
            " ('production', now(), 'failed', 3, now(), true)"
        )
        figures = {figure.name: [value for _, value in figure.values] for figure in nightly_run_metrics(connection)}
    assert figures["mailmart_last_nightly_run_failed"] == [0.0]
    assert figures["mailmart_nightly_runs_failed"] == [0]
    assert figures["mailmart_last_nightly_run_tries"] == [1]


def test_a_run_that_was_left_in_its_last_try_has_failed_and_that_is_told(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, Any]] = []
    monkeypatch.setattr(Telemetry, "capture", lambda self, event, properties: told.append((event, properties["attempts"])))
    due = latest_due(datetime.now(UTC), settings.nightly_at)
    with connect(settings, "mailmart_worker") as connection:
        connection.execute("insert into app.nightly_runs (target, scheduled_for, attempts) values ('production', %s, 3)", (due,))
    run_due_night(settings, NEVER, AT_ONCE)
    assert nights(settings) == [("failed", 3)]
    assert builds(settings) == []
    assert [record.levelname for record in caplog.records if "failed" in record.getMessage()] == ["ERROR"]
    assert told == [("batch_failed", 3)]


def test_a_database_that_is_away_when_a_build_has_ended_hides_no_publication(
    project: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_unavailable = iter([True, True])

    def sometimes(settings: Settings, role: Role) -> psycopg.Connection:
        # asked after the build alone: before it there were no results to go on from
        if next(is_unavailable, False):
            raise psycopg.OperationalError("away")
        return connect(settings, role)

    monkeypatch.setattr("api.builds.dbt_attempt.connect", sometimes)
    run_due_night(project, NEVER, AT_ONCE)
    assert nights(project) == [("succeeded", 1)]


def test_the_databases_clock_says_which_night_it_is(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Ahead:
            return cls.fromtimestamp(time.time() + 86_400, tz)

    with connect(project, "mailmart_worker") as connection:
        ((now,),) = connection.execute("select clock_timestamp()").fetchall()
    monkeypatch.setattr("api.builds.nightly.datetime", Ahead, raising=False)
    run_due_night(project, NEVER, AT_ONCE)
    assert rows(project, "select scheduled_for from app.nightly_runs") == [(latest_due(now, project.nightly_at),)]
    assert run_by_hand(project, NEVER, lambda _: None, AT_ONCE)
    ((latest,),) = rows(project, "select max(scheduled_for) from app.nightly_runs")
    assert latest - now < timedelta(hours=1)


def test_a_run_by_hand(project: Settings) -> None:
    land_campaign(project, "c1")
    shown: list[str] = []
    assert run_by_hand(project, NEVER, shown.append, AT_ONCE)
    assert any("Completed successfully" in line for line in shown)
    assert nights(project) == [("succeeded", 1)]
    status = mailmart(project, "batch", "status").output
    for said in ("batch 1 is served since", "by hand", "batch 1: published", "second"):
        assert said in status
    # a build of somebody's: refused, and it goes on undisturbed
    with connect(project, "mailmart_owner") as lock:
        lock.execute("lock table core.first in access exclusive mode")
        other = dbt_process(project, "build", target_path="other")
        wait_for_waiting(project)
        with pytest.raises(MailmartError, match="build 2 is running since"):
            run_by_hand(project, NEVER, shown.append, AT_ONCE)
        lock.rollback()
    assert other.wait(timeout=60) == 0
    assert builds(project) == [("build", "published")] * 2
    assert [status for status, _ in nights(project)] == ["succeeded", "failed"]


def test_a_stop_in_the_middle_leaves_the_night_to_the_next(project: Settings) -> None:
    assert build(project).status == "published"
    rows(project, "update app.publications set data_as_of = data_as_of - interval '3 days' returning target")
    stop = threading.Event()
    with connect(project, "mailmart_owner") as lock:
        lock.execute("lock table core.first in access exclusive mode")
        run = threading.Thread(target=run_due_night, args=(project, stop, AT_ONCE))
        run.start()
        wait_for_waiting(project)
        stop.set()
        run.join(timeout=20)
        assert not run.is_alive()
        lock.rollback()
    # it was no failure, so it is none of the three
    assert nights(project) == [("running", 0)]
    assert served(project) == 1
    run_due_night(project, NEVER, AT_ONCE)
    assert nights(project) == [("succeeded", 1)]
    assert builds(project) == [("build", "published"), ("build", "abandoned"), ("build", "published")]
