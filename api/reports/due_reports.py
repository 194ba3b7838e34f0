"""Creates a run with an export for each report that is due. Any number of schedulers may call this at the same time."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from api.contract.contract import Contract
from api.contract.publication import Publication, read_publication
from api.db.citus_queries import begin_reading
from api.db.clock import database_time
from api.db.connection import connect
from api.errors import ApiError
from api.exports.plan import ExportPlan, plan_export
from api.exports.query.plan import sentences
from api.exports.repository import new_export_id, request_export
from api.reports.cleanup import clean_up_runs
from api.reports.repository import REPORT_COLUMNS, Report
from api.reports.run_repository import enqueue_deliveries
from api.settings import Settings

LOG = logging.getLogger(__name__)
FAILED_FOR_AN_HOUR = "The report could not be created within an hour"
UNKNOWN_TYPE = "This export type no longer exists"
MAX_REPORTS_PER_CALL = 500
# a sentence can list all metrics
MAX_MESSAGE_LENGTH = 1_000

# reports that fail may be slow: they come after all others
NEXT_DUE = """
    select {} from app.reports
    where is_enabled and next_run_at <= clock_timestamp() and report_id <> all(%s)
    order by failing_since nulls first, next_run_at
    limit 1
    for update skip locked
"""
# no row if another scheduler has run the report, or its schedule was changed
MARK_FAILING = """
    update app.reports
    set failing_since = case when failing_since >= next_run_at then failing_since else clock_timestamp() end
    where report_id = %s and next_run_at <= clock_timestamp()
    returning failing_since < clock_timestamp() - interval '1 hour'
"""


def run_due_reports(settings: Settings) -> int:
    """Creates a run and its export for each report that is due, and cleans up; returns the number of runs.

    Each run is created once: the report is locked, and the run, its export and the report's next time are one transaction. If
    several runs of a report were missed, only the latest is created. Nothing runs before the first publication.
    """
    with connect(settings, "mailmart_worker") as connection:
        connection.autocommit = True
        # other scheduled jobs wait for this one; a report whose planning times out is tried again
        connection.execute(sql.SQL("set statement_timeout = {}").format(sql.Literal(settings.query_timeout_seconds * 1000)))
        publication = read_publication(connection, settings.target)
        run_count = 0 if publication is None else _run_all(connection, publication)
        clean_up_runs(connection)
        return run_count


def _run_all(connection: psycopg.Connection, publication: Publication) -> int:
    contract = publication.contract
    seen: list[Report] = []
    run_count = 0
    while len(seen) < MAX_REPORTS_PER_CALL:
        seen_before = len(seen)
        try:
            with connection.transaction():
                report = _lock_next_due(connection, seen)
                if report is None:
                    break
                seen.append(report)
                run_count += _run(connection, report, publication, contract)
        except Exception as error:
            # an error that is not caused by one report would also hit the next one
            if connection.closed or len(seen) == seen_before:
                raise
            # one failing report does not block the others
            if isinstance(error, psycopg.errors.QueryCanceled):
                LOG.warning("planning the export of report %s timed out", seen[-1].report_id)
            else:
                LOG.exception("report %s cannot be run", seen[-1].report_id)
            run_count += _mark_failing(connection, seen[-1])
    return run_count


def _mark_failing(connection: psycopg.Connection, report: Report) -> int:
    """Records that a report cannot be run; it is tried again. After an hour of that its run fails: then returns 1."""
    try:
        with connection.transaction():
            has_failed_for_an_hour = connection.execute(MARK_FAILING, (report.report_id,)).fetchone() == (True,)
            return _fail_run(connection, report) if has_failed_for_an_hour else 0
    except Exception:
        if connection.closed:
            raise
        LOG.exception("the failure of report %s cannot be recorded", report.report_id)
        return 0


def _fail_run(connection: psycopg.Connection, report: Report) -> int:
    now = database_time(connection)
    try:
        previous_run, next_run = report.schedule.previous_run(now), report.schedule.next_run(now)
    except Exception:
        LOG.exception("the schedule of report %s is invalid; it is tried again in a day", report.report_id)
        previous_run, next_run = report.next_run_at or now, now + timedelta(days=1)
    run_id = _create_run(connection, report, previous_run, next_run)
    if run_id is None:
        return 0
    _end_without_export(connection, run_id, FAILED_FOR_AN_HOUR)
    return 1


def _lock_next_due(connection: psycopg.Connection, seen: Sequence[Report]) -> Report | None:
    with connection.cursor(row_factory=class_row(Report)) as cursor:
        return cursor.execute(sql.SQL(NEXT_DUE).format(REPORT_COLUMNS), ([report.report_id for report in seen],)).fetchone()


def _run(connection: psycopg.Connection, report: Report, publication: Publication, contract: Contract) -> int:
    """Creates the run of a locked report and its export; returns 0 if the run exists already."""
    now = database_time(connection)
    run_id = _create_run(connection, report, report.schedule.previous_run(now), report.schedule.next_run(now))
    if run_id is None:
        return 0
    try:
        plan = _plan(connection, report, publication, contract, now)
        export = request_export(connection, report.workspace_id, new_export_id(), report.request, plan)
    except ApiError as error:
        # a campaign or a metric was deleted since, or the workspace has reached its quota of exports: the recipients are notified
        message = ": ".join([error.message, *([" ".join(sentences(error))] if error.details else [])])[:MAX_MESSAGE_LENGTH]
        LOG.info("report %s cannot be exported: %s", report.report_id, message)
        _end_without_export(connection, run_id, message)
        return 1
    connection.execute("update app.report_runs set export_id = %s where run_id = %s", (export.export_id, run_id))
    return 1


def _create_run(connection: psycopg.Connection, report: Report, scheduled_for: datetime, next_run_at: datetime) -> str | None:
    """Inserts a run and sets the report's next time. Returns the run's id; None if there already is a run for that time."""
    connection.execute(
        "update app.reports set next_run_at = %s, failing_since = null where report_id = %s", (next_run_at, report.report_id)
    )
    run_id = f"run_{secrets.token_hex(12)}"
    inserted = connection.execute(
        "insert into app.report_runs (run_id, report_id, workspace_id, scheduled_for) values (%s, %s, %s, %s)"
        " on conflict (report_id, scheduled_for) do nothing",
        (run_id, report.report_id, report.workspace_id, scheduled_for),
    )
    return run_id if inserted.rowcount else None


def _end_without_export(connection: psycopg.Connection, run_id: str, message: str) -> None:
    """Fails a run that has no export, and notifies its recipients."""
    connection.execute(
        "update app.report_runs set error = %s, exported_at = clock_timestamp() where run_id = %s", (message, run_id)
    )
    enqueue_deliveries(connection, run_id)


def _plan(
    connection: psycopg.Connection, report: Report, publication: Publication, contract: Contract, now: datetime
) -> ExportPlan:
    """Plans the report's export.

    Raises:
        ApiError: the request is no longer valid.
    """
    if report.request["export_type"] not in contract.catalogue.types:
        raise ApiError(UNKNOWN_TYPE)

    def read(context: Mapping[str, str], statements: Sequence[str]) -> list[list[tuple[Any, ...]]]:
        # a savepoint: after an error that the plan explains, the run is recorded
        with connection.transaction():
            rewrite = begin_reading(connection, context)
            return [connection.execute(rewrite(statement).encode()).fetchall() for statement in statements]

    return plan_export(read, contract, publication, report.workspace_id, report.request, now.astimezone(UTC).date())
