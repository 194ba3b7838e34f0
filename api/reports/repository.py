"""Reports of one workspace and their runs, as the API reads and writes them. Row-level security hides other workspaces'."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Literal, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from api.db.limits import RECIPIENT_LIMITS, limits_checked
from api.db.paging import Position, read_page
from api.db.pool import ConnectionPool
from api.db.request_context import WORKSPACE_ID, apply_settings
from api.reports.schedule import Schedule

T = TypeVar("T")
RUN_STATUSES = ("processing", "delivering", "completed", "failed")
CHANNELS = ("email", "webhook")
DELIVERY_STATUSES = ("pending", "delivered", "failed")
MAX_REPORTS = 100


@dataclass(frozen=True)
class Report:
    """A row of app.reports without its secrets; see the comments of its columns."""

    report_id: str
    workspace_id: str
    name: str
    request: dict[str, Any]
    frequency: Literal["daily", "weekly", "monthly"]
    run_at: time
    timezone: str
    weekday: str | None
    day_of_month: int | None
    recipients: list[str]
    webhook_url: str | None
    webhook_failures: int
    webhook_disabled_at: datetime | None
    is_enabled: bool
    next_run_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def schedule(self) -> Schedule:
        """When it runs."""
        return Schedule(self.frequency, self.run_at, self.timezone, self.weekday, self.day_of_month)


REPORT_COLUMNS = sql.SQL(", ").join(sql.Identifier(name) for name in Report.__dataclass_fields__)


@dataclass(frozen=True)
class Run:
    """A row of app.report_runs with its deliveries."""

    run_id: str
    scheduled_for: datetime
    export_id: str | None
    status: str
    error: str | None
    created_at: datetime
    ended_at: datetime | None
    deliveries: list[dict[str, Any]]


def new_report_id() -> str:
    """A random id that cannot be guessed."""
    return f"rep_{secrets.token_hex(12)}"


def schedule_columns(schedule: Schedule) -> dict[str, Any]:
    """The columns of app.reports that store a schedule."""
    return {
        "frequency": schedule.frequency,
        "run_at": schedule.at,
        "timezone": schedule.timezone,
        "weekday": schedule.weekday,
        "day_of_month": schedule.day,
    }


class ReportRepository:
    """Reads and writes the reports of one workspace at a time."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def create(self, workspace_id: str, report_id: str, columns: Mapping[str, Any]) -> Report | None:
        """Creates a report; None if the workspace has MAX_REPORTS. A retry after a lost connection finds it by its id.

        Raises:
            LimitExceeded: the reports of the workspace would have too many different recipients.
        """

        def create(connection: psycopg.Connection) -> Report | None:
            with limits_checked(RECIPIENT_LIMITS), _in_workspace(connection, workspace_id) as cursor:
                # serializes requests that count the reports
                cursor.execute("select pg_advisory_xact_lock(hashtext('mailmart.reports'), hashtext(%s))", (workspace_id,))
                existing = _find(cursor, report_id)
                if existing is not None:
                    return existing
                count = connection.execute("select count(*) from app.reports").fetchone()
                if count is None or count[0] >= MAX_REPORTS:
                    return None
                values = {"report_id": report_id, "workspace_id": workspace_id, **_as_stored(columns)}
                cursor.execute(
                    sql.SQL("insert into app.reports ({}) values ({})").format(
                        sql.SQL(", ").join(map(sql.Identifier, values)), sql.SQL(", ").join(map(sql.Placeholder, values))
                    ),
                    values,
                )
                return _find(cursor, report_id)

        return self._pool.execute(create)

    def opted_out(self, workspace_id: str, reports: Iterable[Report]) -> frozenset[str]:
        """The recipients of these reports who want no report mail of the workspace."""
        recipients = sorted({address for report in reports for address in report.recipients})
        if not recipients:
            return frozenset()

        def work(connection: psycopg.Connection) -> frozenset[str]:
            with _in_workspace(connection, workspace_id):
                rows = connection.execute("select app.opted_out_recipients(%s)", (recipients,)).fetchall()
            return frozenset(address for (address,) in rows)

        return self._pool.execute(work)

    def find(self, workspace_id: str, report_id: str) -> Report | None:
        """A report by its id, or None."""
        return self._execute(workspace_id, lambda cursor: _find(cursor, report_id))

    def page(self, workspace_id: str, limit: int, before: Position | None) -> list[Report]:
        """Up to `limit` reports, newest first; `before` is the created_at and id of the last one of the previous page."""
        columns, order = Report.__dataclass_fields__, ("created_at", "report_id")
        return self._execute(workspace_id, lambda cursor: read_page(cursor, "app.reports", columns, order, before, limit))

    def change(self, workspace_id: str, report_id: str, change: Callable[[Report], Mapping[str, Any]]) -> Report | None:
        """Reads a report and writes the columns that `change` returns, in one transaction. None if there is no such report.

        After a lost connection `change` is called again, possibly with a report that it has already changed.

        Raises:
            LimitExceeded: the reports of the workspace would have too many different recipients.
        """

        def work(cursor: psycopg.Cursor[Report]) -> Report | None:
            report = _find(cursor, report_id, for_update=True)
            if report is None:
                return None
            columns = _as_stored(change(report))
            if columns:
                assignments = sql.SQL(", ").join(
                    sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in columns
                )
                cursor.execute(
                    sql.SQL("update app.reports set {}, updated_at = clock_timestamp() where report_id = {}").format(
                        assignments, sql.Literal(report_id)
                    ),
                    columns,
                )
            return _find(cursor, report_id)

        return self._execute(workspace_id, work)

    def delete(self, workspace_id: str, report_id: str) -> bool:
        """Deletes a report and its runs, but not their exports. Returns whether there was such a report.

        A retry after a lost connection remembers whether the first try deleted it.
        """
        is_deleted: list[bool] = []

        def work(cursor: psycopg.Cursor[Report]) -> bool:
            is_deleted.append(cursor.execute("delete from app.reports where report_id = %s", (report_id,)).rowcount == 1)
            return any(is_deleted)

        return self._execute(workspace_id, work)

    def runs(self, workspace_id: str, report_id: str, limit: int, before: Position | None) -> list[Run]:
        """Up to `limit` runs, newest first; `before` is the scheduled_for and id of the last one of the previous page."""
        columns = [name for name in Run.__dataclass_fields__ if name != "deliveries"]
        order = ("scheduled_for", "run_id")

        def work(connection: psycopg.Connection) -> list[Run]:
            with _in_workspace(connection, workspace_id), connection.cursor(row_factory=dict_row) as cursor:
                rows = read_page(cursor, "app.report_runs", columns, order, before, limit, {"report_id": report_id})
                deliveries: dict[str, list[dict[str, Any]]] = {row["run_id"]: [] for row in rows}
                cursor.execute(
                    "select run_id, channel, target, status, attempts, error, ended_at from app.report_deliveries"
                    " where run_id = any(%s) order by channel, target",
                    (list(deliveries),),
                )
                for delivery in cursor:
                    deliveries[delivery.pop("run_id")].append(delivery)
            return [Run(**row, deliveries=deliveries[row["run_id"]]) for row in rows]

        return self._pool.execute(work)

    def _execute(self, workspace_id: str, work: Callable[[psycopg.Cursor[Report]], T]) -> T:
        def run(connection: psycopg.Connection) -> T:
            with limits_checked(RECIPIENT_LIMITS), _in_workspace(connection, workspace_id) as cursor:
                return work(cursor)

        return self._pool.execute(run)


@contextmanager
def _in_workspace(connection: psycopg.Connection, workspace_id: str) -> Iterator[psycopg.Cursor[Report]]:
    with connection.transaction(), connection.cursor(row_factory=class_row(Report)) as cursor:
        apply_settings(connection, {WORKSPACE_ID: workspace_id})
        yield cursor


def _find(cursor: psycopg.Cursor[Report], report_id: str, *, for_update: bool = False) -> Report | None:
    locked = sql.SQL(" for update" if for_update else "")
    return cursor.execute(
        sql.SQL("select {} from app.reports where report_id = %s{}").format(REPORT_COLUMNS, locked), (report_id,)
    ).fetchone()


def _as_stored(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Jsonb(value) if name == "request" else value for name, value in columns.items()}
