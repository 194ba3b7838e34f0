"""A workspace's reports and their runs, as the API keeps and shows them: row-level security shows a request its workspace's."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Literal, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

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
    """A row of app.reports, without its secrets."""

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


COLUMNS = sql.SQL(", ").join(sql.Identifier(name) for name in Report.__dataclass_fields__)


@dataclass(frozen=True)
class Run:
    """A run of a report, and whom it was sent to."""

    run_id: str
    scheduled_for: datetime
    export_id: str | None
    status: str
    error: str | None
    created_at: datetime
    ended_at: datetime | None
    deliveries: list[dict[str, Any]]


def new_report_id() -> str:
    """An id that nobody guesses."""
    return f"rep_{secrets.token_hex(12)}"


def schedule_columns(schedule: Schedule) -> dict[str, Any]:
    """A schedule as the columns have it."""
    return {
        "frequency": schedule.frequency,
        "run_at": schedule.at,
        "timezone": schedule.timezone,
        "weekday": schedule.weekday,
        "day_of_month": schedule.day,
    }


class ReportRepository:
    """Reads and writes reports of one workspace at a time."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def create(self, workspace_id: str, report_id: str, columns: Mapping[str, Any]) -> Report | None:
        """Makes a report; None where there are as many as there may be. Should the connection die, the second try finds it."""

        def create(connection: psycopg.Connection) -> Report | None:
            with _in_workspace(connection, workspace_id) as cursor:
                # two requests count one after the other
                cursor.execute("select pg_advisory_xact_lock(hashtext('mailmart.reports'), hashtext(%s))", (workspace_id,))
                found = _find(cursor, report_id)
                if found is not None:
                    return found
                counted = connection.execute("select count(*) from app.reports").fetchone()
                if counted is None or counted[0] >= MAX_REPORTS:
                    return None
                given = {"report_id": report_id, "workspace_id": workspace_id, **_stored(columns)}
                cursor.execute(
                    sql.SQL("insert into app.reports ({}) values ({})").format(
                        sql.SQL(", ").join(map(sql.Identifier, given)), sql.SQL(", ").join(map(sql.Placeholder, given))
                    ),
                    given,
                )
                return _find(cursor, report_id)

        return self._pool.execute(create)

    def find(self, workspace_id: str, report_id: str) -> Report | None:
        """One of them; None where there is none."""
        return self._in(workspace_id, lambda cursor: _find(cursor, report_id))

    def page(self, workspace_id: str, limit: int, before: tuple[datetime, str] | None) -> list[Report]:
        """The latest ones, or those before the place (time of creation, id), newest first."""
        created_at, report_id = before or ("infinity", "")
        return self._in(
            workspace_id,
            lambda cursor: cursor.execute(
                sql.SQL(
                    "select {} from app.reports where (created_at, report_id) < (%s::timestamptz, %s)"
                    " order by created_at desc, report_id desc limit %s"
                ).format(COLUMNS),
                (created_at, report_id, limit),
            ).fetchall(),
        )

    def change(self, workspace_id: str, report_id: str, change: Callable[[Report], Mapping[str, Any]]) -> Report | None:
        """Writes what `change` makes of a report, as one with reading it; None where there is none.

        Should the connection die, `change` is asked again, and may find what it has made of it already.
        """

        def work(cursor: psycopg.Cursor[Report]) -> Report | None:
            found = _find(cursor, report_id, for_update=True)
            if found is None:
                return None
            columns = _stored(change(found))
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

        return self._in(workspace_id, work)

    def delete(self, workspace_id: str, report_id: str) -> bool:
        """Removes one with its runs, whose exports stay; whether there was one.

        Should the connection die, the second try finds none, and knows what the first one found.
        """
        found: list[bool] = []

        def work(cursor: psycopg.Cursor[Report]) -> bool:
            found.append(cursor.execute("delete from app.reports where report_id = %s", (report_id,)).rowcount == 1)
            return any(found)

        return self._in(workspace_id, work)

    def runs(self, workspace_id: str, report_id: str, limit: int, before: tuple[datetime, str] | None) -> list[Run]:
        """The latest runs of a report, or those before the place (what they were due at, id), newest first."""
        scheduled_for, run_id = before or ("infinity", "")

        def work(connection: psycopg.Connection) -> list[Run]:
            with _in_workspace(connection, workspace_id), connection.cursor(row_factory=dict_row) as cursor:
                rows = cursor.execute(
                    "select run_id, scheduled_for, export_id, status, error, created_at, ended_at from app.report_runs"
                    " where report_id = %s and (scheduled_for, run_id) < (%s::timestamptz, %s)"
                    " order by scheduled_for desc, run_id desc limit %s",
                    (report_id, scheduled_for, run_id, limit),
                ).fetchall()
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

    def _in(self, workspace_id: str, work: Callable[[psycopg.Cursor[Report]], T]) -> T:
        def run(connection: psycopg.Connection) -> T:
            with _in_workspace(connection, workspace_id) as cursor:
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
        sql.SQL("select {} from app.reports where report_id = %s{}").format(COLUMNS, locked), (report_id,)
    ).fetchone()


def _stored(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Jsonb(value) if name == "request" else value for name, value in columns.items()}
