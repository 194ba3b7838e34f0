"""What is due becomes a run with an export. Called by the timetable, every 30 seconds, by any number of schedulers."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from api.database import connect
from api.errors import ApiError
from api.exports.books import new_export_id, request_export
from api.exports.catalogue import Catalogue, read_catalogue
from api.exports.preparing import prepared
from api.exports.request import Resolved
from api.publication import Publication, read_publication
from api.reports.books import COLUMNS, Report
from api.reports.runs import begin_deliveries
from api.settings import Settings

LOG = logging.getLogger(__name__)
NO_LONGER = "Nothing is exported under this type any more"
MOST_AT_A_TIME = 500

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
LONG_AGO = "delete from app.report_runs where ended_at < clock_timestamp() - interval '90 days'"


def run_due_reports(settings: Settings) -> int:
    """Makes a run, and its export, of each report that is due; how many.

    Each is made once: the run, its export and the report's next time are one transaction, and the report is locked meanwhile.
    Of the runs that were missed while nobody looked, only the latest is made. While nothing is published all of them wait.
    """
    with connect(settings, "mailmart_worker") as connection:
        connection.autocommit = True
        # the timetable's other jobs wait for this one; a report whose size cannot be told in time is tried again
        connection.execute(sql.SQL("set statement_timeout = {}").format(sql.Literal(settings.query_timeout_seconds * 1000)))
        _look_after(connection)
        publication = read_publication(connection, settings.target)
        if publication is None:
            return 0
        catalogue = read_catalogue(publication.contract)
        seen: list[str] = []
        made = 0
        while len(seen) < MOST_AT_A_TIME:
            try:
                with connection.transaction():
                    report = _next_due(connection, seen)
                    if report is None:
                        break
                    seen.append(report.report_id)
                    made += _run(connection, report, publication, catalogue)
            except psycopg.errors.QueryCanceled:
                LOG.warning("the export of report %s cannot be asked for in time; it is tried again", seen[-1])
            except psycopg.OperationalError:
                raise
            except Exception:
                # one that is broken keeps no other back
                LOG.exception("report %s cannot be run; it is tried again", seen[-1])
        return made


def _next_due(connection: psycopg.Connection, seen: list[str]) -> Report | None:
    with connection.cursor(row_factory=class_row(Report)) as cursor:
        return cursor.execute(
            sql.SQL(
                "select {} from app.reports where is_enabled and next_run_at <= clock_timestamp() and report_id <> all(%s)"
                " order by next_run_at limit 1 for update skip locked"
            ).format(COLUMNS),
            (seen,),
        ).fetchone()


def _run(connection: psycopg.Connection, report: Report, publication: Publication, catalogue: Catalogue) -> int:
    """Makes the run of a report that is locked; 0 where it is there already."""
    # the database's clock: schedulers may not agree about the time
    (now,) = _row(connection.execute("select clock_timestamp()"))
    scheduled_for = report.schedule.latest_until(now)
    connection.execute(
        "update app.reports set next_run_at = %s where report_id = %s", (report.schedule.next_after(now), report.report_id)
    )
    run_id = f"run_{secrets.token_hex(12)}"
    inserted = connection.execute(
        "insert into app.report_runs (run_id, report_id, workspace_id, scheduled_for) values (%s, %s, %s, %s)"
        " on conflict (report_id, scheduled_for) do nothing",
        (run_id, report.report_id, report.workspace_id, scheduled_for),
    )
    if inserted.rowcount == 0:
        return 0
    try:
        resolved, size = _prepared(connection, report, publication, catalogue, now)
    except ApiError as error:
        # what it exports is there no more: said to those who wait for it
        LOG.info("report %s makes no export: %s", report.report_id, error.message)
        connection.execute(
            "update app.report_runs set error = %s, exported_at = clock_timestamp() where run_id = %s", (error.message, run_id)
        )
        begin_deliveries(connection, run_id)
        return 1
    export = request_export(connection, report.workspace_id, new_export_id(), report.request, resolved, size)
    connection.execute("update app.report_runs set export_id = %s where run_id = %s", (export.export_id, run_id))
    return 1


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
        for name, value in context.items():
            connection.execute(sql.SQL("set local {} = {}").format(sql.SQL(name), sql.Literal(value)))
        return [connection.execute(statement.encode()).fetchall() for statement in statements]

    return prepared(read, catalogue, publication, report.workspace_id, report.request, now.astimezone(UTC).date())


def _look_after(connection: psycopg.Connection) -> None:
    """Goes on with what stood still, and forgets what is long over."""
    for (run_id,) in connection.execute(UNTOLD, (MOST_AT_A_TIME,)).fetchall():
        with connection.transaction():
            begin_deliveries(connection, run_id)
    with connection.transaction():
        for key in connection.execute(WITHOUT_JOB, (MOST_AT_A_TIME,)).fetchall():
            LOG.warning("the delivery of run %s by %s had no job, and has one again", key[0], key[1])
            connection.execute("select app.defer_delivery(%s, %s, %s, 0)", key)
    connection.execute(LONG_AGO)


def _row(cursor: psycopg.Cursor[Any]) -> Any:
    found = cursor.fetchone()
    if found is None:
        raise LookupError("a select without a from has a row")
    return found
