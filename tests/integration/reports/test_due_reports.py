"""Due reports run exactly once, with any number of schedulers and after any delay."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any

import psycopg
import pytest

from api.db.connection import connect
from api.exports.plan import plan_export
from api.reports import cleanup, due_reports
from api.reports.due_reports import run_due_reports
from api.reports.schedule import Schedule
from tests.integration.exports.worker_process import wait_for
from tests.integration.reports.reporter import DAILY, EMPTY_WORKSPACE, EXPORT, Reporter

SCHEDULE = Schedule("daily", time(8), "Europe/Berlin")

# includes a build of the warehouse
pytestmark = pytest.mark.timeout(900)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_due_report_creates_an_export_of_its_time_range(reporter: Reporter) -> None:
    made = reporter.create(export={**EXPORT, "campaign_ids": ["cmp_1"]})
    assert reporter.run_due() == 0
    reporter.make_due(made["report_id"])
    assert reporter.run_due() == 1
    (run,) = reporter.runs(made["report_id"])
    now = datetime.now(UTC)
    assert moment(run["scheduled_for"]) == SCHEDULE.previous_run(now)
    assert moment(reporter.get(made["report_id"])["next_run_at"]) == SCHEDULE.next_run(now)
    assert run["status"] == "processing"
    export = reporter.data(reporter.call("GET", f"exports/{run['export_id']}"))
    assert (export["status"], export["export_type"], export["format"]) == ("processing", "campaign_performance", "csv")
    reporter.write(run["export_id"])
    (run,) = reporter.runs(made["report_id"])
    # without recipients the run ends with its export
    assert (run["status"], run["error"], run["deliveries"]) == ("completed", None, [])
    assert run["ended_at"] is not None
    export = reporter.data(reporter.call("GET", f"exports/{run['export_id']}"))
    assert (export["status"], export["row_count"]) == ("completed", 1)


def test_missed_runs_are_caught_up_once(reporter: Reporter) -> None:
    made = reporter.create(schedule={**DAILY, "at": "00:05", "timezone": "UTC"})
    reporter.make_due(made["report_id"], "40 days")
    assert [reporter.run_due() for _ in range(3)] == [1, 0, 0]
    (run,) = reporter.runs(made["report_id"])
    assert moment(run["scheduled_for"]) == Schedule("daily", time(0, 5), "UTC").previous_run(datetime.now(UTC))


def test_a_scheduled_time_has_at_most_one_run(reporter: Reporter) -> None:
    made = reporter.create()
    reporter.make_due(made["report_id"])
    assert reporter.run_due() == 1
    # as if the clock had been set back
    reporter.make_due(made["report_id"])
    assert reporter.run_due() == 0
    assert len(reporter.runs(made["report_id"])) == 1
    assert moment(reporter.get(made["report_id"])["next_run_at"]) > datetime.now(UTC)
    assert reporter.execute("select count(*) from app.exports") == [(1,)]


def test_concurrent_schedulers_create_each_run_once(reporter: Reporter) -> None:
    reports = [reporter.create(name=f"Report {number}")["report_id"] for number in range(12)]
    for report_id in reports:
        reporter.make_due(report_id)
    made: list[int] = []
    start = threading.Barrier(6)

    def schedule() -> None:
        start.wait(30)
        made.append(run_due_reports(reporter.settings))

    threads = [threading.Thread(target=schedule) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(made) == 12
    assert [len(reporter.runs(report_id)) for report_id in reports] == [1] * 12
    assert reporter.execute("select count(*), count(distinct export_id) from app.exports") == [(12, 12)]
    jobs = "select count(*) from procrastinate.procrastinate_jobs where task_name = 'export'"
    assert reporter.execute(jobs) == [(12,)]


def test_a_killed_scheduler_leaves_no_partial_run(reporter: Reporter) -> None:
    made = reporter.create()
    reporter.make_due(made["report_id"])
    # after the run and its export are inserted, the transaction waits for the test
    reporter.execute(
        "create function app.wait() returns trigger language plpgsql as"
        " $$begin perform pg_advisory_xact_lock(4711); return new; end$$"
    )
    reporter.execute("create trigger wait before update of export_id on app.report_runs for each row execute function app.wait()")
    program = "from api.reports.due_reports import *; run_due_reports(Settings.from_environment())"
    counted = "select (select count(*) from app.report_runs), (select count(*) from app.exports)"
    waiting = (
        "select count(*) from pg_locks where locktype = 'advisory' and objid = 4711 and not granted"
        " and database = (select oid from pg_database where datname = current_database())"
    )
    try:
        with connect(reporter.settings, None) as lock_holder:
            lock_holder.execute("select pg_advisory_xact_lock(4711)")
            scheduler = subprocess.Popen(
                [sys.executable, "-c", program],
                env={
                    **os.environ,
                    "MAILMART_DATABASE_URL": str(reporter.settings.database_url),
                    "MAILMART_HOME": str(reporter.settings.home),
                },
            )
            wait_for(lambda: reporter.execute(waiting) == [(1,)], 60)
            scheduler.kill()
            scheduler.wait()
            assert reporter.execute(counted) == [(0, 0)]
    finally:
        reporter.execute("drop function app.wait cascade")
    assert reporter.execute(counted) == [(0, 0)]
    # when the server notices the closed connection
    wait_for(lambda: reporter.run_due() == 1, 60)
    assert reporter.execute(counted) == [(1, 1)]
    jobs = "select count(*) from procrastinate.procrastinate_jobs where task_name = 'export'"
    assert reporter.execute(jobs) == [(1,)]


def test_a_failing_report_does_not_block_others(reporter: Reporter) -> None:
    broken, other = reporter.create(), reporter.create()
    reporter.execute("update app.reports set timezone = 'No/Where' where report_id = %s", broken["report_id"])
    for report, ago in ((broken, "2 minutes"), (other, "1 minute")):
        reporter.make_due(report["report_id"], ago)
    assert reporter.run_due() == 1
    assert len(reporter.runs(other["report_id"])) == 1
    assert reporter.runs(broken["report_id"]) == []


def test_a_report_that_fails_for_an_hour_has_a_failed_run_after_all_others(reporter: Reporter) -> None:
    broken, other = reporter.create(), reporter.create()
    reporter.execute("update app.reports set request = '{}' where report_id = %s", broken["report_id"])
    reporter.make_due(broken["report_id"], "2 hours")
    assert [reporter.run_due(), reporter.run_due()] == [0, 0]
    assert reporter.runs(broken["report_id"]) == []
    reporter.execute("update app.reports set failing_since = failing_since - interval '61 minutes'")
    reporter.make_due(other["report_id"])
    assert [reporter.run_due(), reporter.run_due()] == [2, 0]
    order = reporter.execute("select report_id from app.report_runs order by created_at")
    assert order == [(other["report_id"],), (broken["report_id"],)]
    (run,) = reporter.runs(broken["report_id"])
    assert (run["status"], run["export_id"], run["error"]) == ("failed", None, due_reports.FAILED_FOR_AN_HOUR)
    next_run_at = reporter.data(reporter.call("GET", "reports"))["reports"][1]["next_run_at"]
    assert moment(next_run_at) == SCHEDULE.next_run(datetime.now(UTC))
    assert reporter.execute("select count(*) from app.reports where failing_since is not null") == [(0,)]


def test_a_database_error_of_one_report_does_not_block_others(reporter: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    failing, other = reporter.create(export={**EXPORT, "format": "json"}), reporter.create()
    for report, ago in ((failing, "2 minutes"), (other, "1 minute")):
        reporter.make_due(report["report_id"], ago)

    def fail_for_json(read: Any, contract: Any, publication: Any, workspace_id: str, body: dict[str, Any], today: Any) -> Any:
        if body["format"] == "json":
            raise psycopg.errors.LockNotAvailable("it is locked")
        return plan_export(read, contract, publication, workspace_id, body, today)

    monkeypatch.setattr("api.reports.due_reports.plan_export", fail_for_json)
    assert reporter.run_due() == 1
    assert len(reporter.runs(other["report_id"])) == 1
    assert reporter.runs(failing["report_id"]) == []


def test_a_failing_cleanup_does_not_block_reports(reporter: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    made = reporter.create()
    reporter.make_due(made["report_id"])
    monkeypatch.setattr(cleanup, "DELETE_OLD_RUNS", "select 1 / 0")
    assert reporter.run_due() == 1
    assert len(reporter.runs(made["report_id"])) == 1


def test_a_disabled_report_does_not_run(reporter: Reporter) -> None:
    made = reporter.create(is_enabled=False)
    assert made["next_run_at"] is None
    assert reporter.run_due() == 0
    reporter.data(reporter.call("PATCH", f"reports/{made['report_id']}", json={"is_enabled": True}))
    assert reporter.run_due() == 0


def test_a_report_of_a_deleted_campaign_fails(reporter: Reporter) -> None:
    made = reporter.create(export={**EXPORT, "campaign_ids": ["cmp_1"]})
    other = reporter.create(name="Other")
    reporter.execute(
        "update app.reports set request = jsonb_set(request, '{campaign_ids}', '[\"cmp_gone\"]') where report_id = %s",
        made["report_id"],
    )
    for report in (made, other):
        reporter.make_due(report["report_id"])
    assert reporter.run_due() == 2
    (run,) = reporter.runs(made["report_id"])
    assert (run["status"], run["export_id"]) == ("failed", None)
    assert "cmp_gone" in run["error"]
    assert reporter.runs(other["report_id"])[0]["status"] == "processing"


def test_a_report_of_a_query_runs_over_the_days_before_each_run(reporter: Reporter) -> None:
    query = {"metrics": ["sent"], "dimensions": ["campaign"], "time_range": "7d"}
    made = reporter.create(export={"export_type": "query", "format": "csv", "query": query})
    run = reporter.run_now(made["report_id"])
    reporter.write(run["export_id"])
    export = reporter.data(reporter.call("GET", f"exports/{run['export_id']}"))
    assert (export["status"], export["row_count"]) == ("completed", 1)
    today = datetime.now(UTC).date()
    ((resolved,),) = reporter.execute("select resolved from app.exports where export_id = %s", run["export_id"])
    assert resolved["context"]["mailmart.range_end"] == today.isoformat()
    file = reporter.client.get(export["download_url"].removeprefix(reporter.settings.public_url), buffered=True).data
    assert file == b"campaign,sent\ncmp_1,10\n"


def test_a_report_whose_query_cannot_be_answered_any_more_fails_and_says_why(
    reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = reporter.create(export={"export_type": "query", "format": "csv", "query": {"metrics": ["sent"]}})
    for change, sentence in (
        ('["opened_twice"]', "query: metrics: 0: Unknown metric opened_twice."),
        ('["events"]', "query: metrics: events is only known by the day of the event"),
    ):
        reporter.execute(
            "update app.reports set request = jsonb_set(request, '{query,metrics}', %s) where report_id = %s",
            change,
            made["report_id"],
        )
        run = reporter.run_now(made["report_id"])
        assert (run["status"], run["export_id"]) == ("failed", None)
        assert sentence in run["error"]
    # a zone that this PostgreSQL does not know any more: an error of the database, after which the run is recorded
    zoned = reporter.create(export={"export_type": "query", "format": "csv", "query": {"metrics": ["sent"]}})
    monkeypatch.setattr("api.exports.plan.CHECK_TIME_ZONE", "select now() at time zone 'Mars/Base'")
    run = reporter.run_now(zoned["report_id"])
    assert (run["status"], run["export_id"]) == ("failed", None)
    assert "query: timezone: " in run["error"]


def test_a_run_ends_if_its_export_is_canceled_or_deleted(reporter: Reporter) -> None:
    made = reporter.create()
    run = reporter.run_now(made["report_id"])
    assert reporter.call("DELETE", f"exports/{run['export_id']}").status_code == 204
    reporter.run_due()
    (run,) = reporter.runs(made["report_id"])
    assert (run["status"], run["error"]) == ("failed", "The export was canceled")
    second = reporter.run_now(made["report_id"])
    reporter.execute("delete from app.exports where export_id = %s", second["export_id"])
    reporter.run_due()
    assert {run["error"] for run in reporter.runs(made["report_id"])} == {"The export was canceled", "The export was deleted"}


def test_deleting_a_report_keeps_its_exports(reporter: Reporter) -> None:
    made = reporter.create()
    run = reporter.run_now(made["report_id"])
    assert reporter.call("DELETE", f"reports/{made['report_id']}").status_code == 204
    reporter.write(run["export_id"])
    export = reporter.data(reporter.call("GET", f"exports/{run['export_id']}"))
    assert export["status"] == "completed"
    assert reporter.execute("select count(*) from app.report_runs") == [(0,)]


def test_runs_are_paginated(reporter: Reporter) -> None:
    made = reporter.create()
    for _ in range(3):
        reporter.run_now(made["report_id"])
    all_runs = reporter.runs(made["report_id"])
    assert [run["scheduled_for"] for run in all_runs] == sorted((run["scheduled_for"] for run in all_runs), reverse=True)
    paged, query = [], "limit=1"
    for _ in range(3):
        page = reporter.data(reporter.call("GET", f"reports/{made['report_id']}/runs?{query}"))
        paged += page["runs"]
        query = f"limit=1&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert paged == all_runs


def test_old_runs_are_deleted(reporter: Reporter) -> None:
    made = reporter.create()
    run = reporter.run_now(made["report_id"])
    reporter.write(run["export_id"])
    reporter.execute("update app.report_runs set ended_at = clock_timestamp() - interval '91 days'")
    reporter.run_due()
    assert reporter.runs(made["report_id"]) == []


def test_reports_do_not_run_before_the_first_publication(make_database: Callable[[], Any]) -> None:
    settings = make_database()
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            "insert into app.reports (report_id, workspace_id, name, request, frequency, run_at, timezone, next_run_at)"
            " values ('rep_1', 'ws', 'x', '{}', 'daily', '08:00', 'UTC', clock_timestamp())"
        )
    assert run_due_reports(settings) == 0


def test_a_run_without_data_fails(reporter: Reporter, reporter_of: Callable[[str], Reporter]) -> None:
    empty = reporter_of(EMPTY_WORKSPACE)
    made = empty.create()
    run = empty.run_now(made["report_id"])
    empty.write(run["export_id"])
    (run,) = empty.runs(made["report_id"])
    assert (run["status"], run["error"]) == ("failed", "Failed to generate export: insufficient data")
