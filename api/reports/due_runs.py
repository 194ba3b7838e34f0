"""What is due becomes a run with an export. Called by the timetable, every 30 seconds, by any number of schedulers."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from api.contract.export_types import Catalogue
from api.contract.publication import Publication, read_publication
from api.db.connection import connect
from api.db.request_context import apply_settings
from api.errors import ApiError
from api.exports.prepare import plan_export
from api.exports.repository import new_export_id, request_export
from api.exports.request_schema import Resolved
from api.reports.repository import COLUMNS, Report
from api.reports.run_repository import enqueue_deliveries
from api.settings import Settings

LOG = logging.getLogger(__name__)
CANNOT_BE_MADE = "The report could not be made, though it was tried for an hour"
NO_LONGER = "Nothing is exported under this type any more"
MAX_AT_A_TIME = 500

# an export whose end was not told: it was canceled, or is gone
UNTOLD = """
    select runs.run_id
    from app.report_runs as runs
    left join app.exports as exports on runs.export_id = exports.export_id
    where
        runs.status = 'processing'
        and (exports.export_id is null or exports.status <> 'processing' or exports.removed_at is not null)
    limit %s
"""
# a job that was deleted by hand; while one is there, it is its own to come back
WITHOUT_JOB = """
    select deliveries.run_id, deliveries.channel, deliveries.target
    from app.report_deliveries as deliveries
    where
        deliveries.status = 'pending'
        and deliveries.not_before < clock_timestamp() - interval '1 minute'
        and not exists (select from procrastinate.procrastinate_jobs as jobs where jobs.id = deliveries.job_id)
    limit %s
    for update skip locked
"""
LONG_AGO = """
    delete from app.report_runs where run_id in (
        select run_id from app.report_runs where ended_at < clock_timestamp() - interval '90 days' limit %s
    )
"""
# others first: those that fail may take their time
NEXT_DUE = """
    select {} from app.reports
    where is_enabled and next_run_at <= clock_timestamp() and report_id <> all(%s)
    order by failing_since nulls first, next_run_at
    limit 1
    for update skip locked
"""
# unless somebody else has run it, or its schedule was changed, since
FAILING = """
    update app.reports
    set failing_since = case when failing_since >= next_run_at then failing_since else clock_timestamp() end
    where report_id = %s and next_run_at <= clock_timestamp()
    returning failing_since < clock_timestamp() - interval '1 hour'
"""


def run_due_reports(settings: Settings) -> int:
    """Makes a run, and its export, of each report that is due; how many.

    Each is made once: the run, its export and the report's next time are one transaction, and the report is locked meanwhile.
    Of the runs that were missed while nobody looked, only the latest is made. While nothing is published all of them wait.
    """
    with connect(settings, "mailmart_worker") as connection:
        connection.autocommit = True
        # the timetable's other jobs wait for this one; a report whose size cannot be told in time is tried again
        connection.execute(sql.SQL("set statement_timeout = {}").format(sql.Literal(settings.query_timeout_seconds * 1000)))
        publication = read_publication(connection, settings.target)
        made = 0 if publication is None else _run_all(connection, publication)
        # what keeps house comes last, and keeps no report back
        for look_after in (_tell_untold, _give_jobs, _forget):
            try:
                look_after(connection)
            except Exception:
                if connection.closed:
                    raise
                LOG.exception("what reports left behind cannot be looked after; it is tried again")
        return made


def _run_all(connection: psycopg.Connection, publication: Publication) -> int:
    catalogue = publication.contract.catalogue
    seen: list[Report] = []
    made = 0
    while len(seen) < MAX_AT_A_TIME:
        count = len(seen)
        try:
            with connection.transaction():
                report = _next_due(connection, seen)
                if report is None:
                    break
                seen.append(report)
                made += _run(connection, report, publication, catalogue)
        except Exception as error:
            # what is none of a report's would be the next one's as well
            if connection.closed or len(seen) == count:
                raise
            # one that is broken keeps no other back
            if isinstance(error, psycopg.errors.QueryCanceled):
                LOG.warning("the export of report %s cannot be asked for in time", seen[-1].report_id)
            else:
                LOG.exception("report %s cannot be run", seen[-1].report_id)
            made += _failed(connection, seen[-1])
    return made


def _failed(connection: psycopg.Connection, report: Report) -> int:
    """Notes that a report cannot be run now: it is tried again, and after an hour of that its run has failed."""
    try:
        with connection.transaction():
            is_given_up = connection.execute(FAILING, (report.report_id,)).fetchone()
            return _give_up(connection, report) if is_given_up == (True,) else 0
    except Exception:
        if connection.closed:
            raise
        LOG.exception("report %s: that it cannot be run cannot be noted", report.report_id)
        return 0


def _give_up(connection: psycopg.Connection, report: Report) -> int:
    (now,) = _row(connection.execute("select clock_timestamp()"))
    try:
        moments = report.schedule.previous_run(now), report.schedule.next_run(now)
    except Exception:
        LOG.exception("report %s has a schedule that cannot be read; it is tried again in a day", report.report_id)
        moments = report.next_run_at or now, now + timedelta(days=1)
    run_id = _begin(connection, report, *moments)
    if run_id is None:
        return 0
    _refuse(connection, run_id, CANNOT_BE_MADE)
    return 1


def _next_due(connection: psycopg.Connection, seen: Sequence[Report]) -> Report | None:
    with connection.cursor(row_factory=class_row(Report)) as cursor:
        return cursor.execute(sql.SQL(NEXT_DUE).format(COLUMNS), ([report.report_id for report in seen],)).fetchone()


def _run(connection: psycopg.Connection, report: Report, publication: Publication, catalogue: Catalogue) -> int:
    """Makes the run of a report that is locked; 0 where it is there already."""
    # the database's clock: schedulers may not agree about the time
    (now,) = _row(connection.execute("select clock_timestamp()"))
    run_id = _begin(connection, report, report.schedule.previous_run(now), report.schedule.next_run(now))
    if run_id is None:
        return 0
    try:
        resolved, size = _prepared(connection, report, publication, catalogue, now)
    except ApiError as error:
        # what it exports is there no more: said to those who wait for it
        LOG.info("report %s makes no export: %s", report.report_id, error.message)
        _refuse(connection, run_id, error.message)
        return 1
    export = request_export(connection, report.workspace_id, new_export_id(), report.request, resolved, size)
    connection.execute("update app.report_runs set export_id = %s where run_id = %s", (export.export_id, run_id))
    return 1


def _begin(connection: psycopg.Connection, report: Report, scheduled_for: datetime, next_run_at: datetime) -> str | None:
    """Makes a run, and says when the report runs next; the run's id, None where there is one of that moment already."""
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


def _refuse(connection: psycopg.Connection, run_id: str, said: str) -> None:
    """Ends a run that has no export, and tells those who wait for it."""
    connection.execute("update app.report_runs set error = %s, exported_at = clock_timestamp() where run_id = %s", (said, run_id))
    enqueue_deliveries(connection, run_id)


def _prepared(
    connection: psycopg.Connection, report: Report, publication: Publication, catalogue: Catalogue, now: datetime
) -> tuple[Resolved, int]:
    """What the report's export comes to now, and how much there is to write.

    Raises:
        ApiError: it can be asked for no more.
    """
    if report.request["export_type"] not in catalogue.types:
        raise ApiError(NO_LONGER)

    def read(context: Mapping[str, str], statements: Sequence[str]) -> list[list[tuple[Any, ...]]]:
        apply_settings(connection, context)
        return [connection.execute(statement.encode()).fetchall() for statement in statements]

    return plan_export(read, catalogue, publication, report.workspace_id, report.request, now.astimezone(UTC).date())


def _tell_untold(connection: psycopg.Connection) -> None:
    for (run_id,) in connection.execute(UNTOLD, (MAX_AT_A_TIME,)).fetchall():
        with connection.transaction():
            enqueue_deliveries(connection, run_id)


def _give_jobs(connection: psycopg.Connection) -> None:
    with connection.transaction():
        for key in connection.execute(WITHOUT_JOB, (MAX_AT_A_TIME,)).fetchall():
            LOG.warning("the delivery of run %s by %s had no job, and has one again", key[0], key[1])
            connection.execute("select app.defer_delivery(%s, %s, %s, 0)", key)


def _forget(connection: psycopg.Connection) -> None:
    connection.execute(LONG_AGO, (MAX_AT_A_TIME,))


def _row(cursor: psycopg.Cursor[Any]) -> Any:
    found = cursor.fetchone()
    if found is None:
        raise LookupError("a select without a from has a row")
    return found
