"""Exports of one workspace in app.exports, as the API reads and writes them. Row-level security hides other workspaces'."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from api.db.limits import EXPORT_LIMITS, limits_checked
from api.db.paging import Position, read_page
from api.db.pool import ConnectionPool
from api.db.request_context import WORKSPACE_ID, apply_settings
from api.errors import LimitExceeded, QuotaExceeded
from api.exports.plan import ExportPlan

Status = Literal["processing", "completed", "failed", "expired", "canceled"]
STATUSES: tuple[Status, ...] = ("processing", "completed", "failed", "expired", "canceled")
T = TypeVar("T")


@dataclass(frozen=True)
class Export:
    """A row of app.exports; see the comments of its columns.

    The last two fields are a signed link to its file (app.sign_export_link), for as long as links live; None without a file.
    """

    export_id: str
    workspace_id: str
    export_type: str
    format: str
    request: dict[str, Any]
    resolved: dict[str, Any]
    units_total: int
    status: Status
    attempts: int
    units_written: int
    row_count: int | None
    file_size_bytes: int | None
    sha256: str | None
    storage_key: str | None
    data_as_of: datetime | None
    error: str | None
    estimated_completion: datetime | None
    created_at: datetime
    completed_at: datetime | None
    file_expires_at: datetime | None
    link_expires_at: datetime | None = None
    link_signature: str | None = None

    @property
    def progress(self) -> int:
        """Percent written: 100 only if the export is completed."""
        if self.status in ("completed", "expired"):
            return 100
        return min(self.units_written * 100 // max(self.units_total, 1), 99)

    @property
    def requested_on(self) -> date:
        """The day (UTC) of the request: a relative time range ends on it."""
        return date.fromisoformat(self.resolved["context"]["mailmart.range_end"])


LINK_COLUMNS = ("link_expires_at", "link_signature")
LINK_LIFETIME_SECONDS = 3600
EXPORT_COLUMNS = sql.SQL(", ").join(sql.Identifier(name) for name in Export.__dataclass_fields__ if name not in LINK_COLUMNS)
# a link is signed in the statement that reads its export
EXPORT_WITH_LINK = sql.SQL("{}, {}").format(EXPORT_COLUMNS, sql.SQL(", ").join(map(sql.Identifier, LINK_COLUMNS)))
SIGNED_LINK = sql.SQL("left join lateral app.sign_export_link(exports.export_id, {}) as links on true").format(
    sql.Literal(LINK_LIFETIME_SECONDS)
)


def new_export_id() -> str:
    """A random id that cannot be guessed."""
    return f"exp_{secrets.token_hex(12)}"


def request_export(
    connection: psycopg.Connection,
    workspace_id: str,
    export_id: str,
    body: dict[str, Any],
    plan: ExportPlan,
    idempotency_key: str | None = None,
) -> Export:
    """Creates an export and its job in one transaction.

    If the id or the idempotency key is already used in the workspace, returns that export, whose request may differ.

    Raises:
        QuotaExceeded: the workspace has as many exports, or as many bytes of files, as it may have.
    """
    with _within_quota(), _in_workspace(connection, workspace_id) as cursor:
        export = cursor.execute(
            sql.SQL("select {} from app.request_export(%s, %s, %s, %s, %s, %s, %s) as exports {}").format(
                EXPORT_WITH_LINK, SIGNED_LINK
            ),
            (
                export_id,
                body["export_type"],
                body["format"],
                json.dumps(body),
                json.dumps(plan.request.to_json()),
                plan.units_total,
                idempotency_key,
            ),
        ).fetchone()
    if export is None:
        raise LookupError("app.request_export returned no row")
    return export


class ExportRepository:
    """Reads and writes the exports of one workspace at a time."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def request(self, workspace_id: str, body: dict[str, Any], plan: ExportPlan, idempotency_key: str | None) -> Export:
        """Creates an export; see request_export. A retry after a lost connection finds the export by its id."""
        export_id = new_export_id()
        return self._pool.execute(
            lambda connection: request_export(connection, workspace_id, export_id, body, plan, idempotency_key)
        )

    def find(self, workspace_id: str, export_id: str) -> Export | None:
        """An export by its id, or None."""
        return self._execute(
            workspace_id,
            lambda cursor: cursor.execute(
                sql.SQL("select {} from app.exports {} where export_id = %s").format(EXPORT_WITH_LINK, SIGNED_LINK), (export_id,)
            ).fetchone(),
        )

    def page(self, workspace_id: str, limit: int, before: Position | None) -> list[Export]:
        """Up to `limit` exports, newest first; `before` is the created_at and id of the last one of the previous page."""
        columns, order = Export.__dataclass_fields__, ("created_at", "export_id")
        return self._execute(
            workspace_id,
            lambda cursor: read_page(cursor, "app.exports", columns, order, before, limit, join=SIGNED_LINK),
        )

    def cancel_or_remove(self, workspace_id: str, export_id: str) -> str | None:
        """Cancels an export that is processing, removes any other. Returns 'canceled', 'removed', or None for an unknown one.

        A retry after a lost connection has the same request id, so it returns the same result.
        """
        request_id = secrets.token_hex(8)

        def cancel_or_remove(connection: psycopg.Connection) -> str | None:
            with _in_workspace(connection, workspace_id):
                row = connection.execute("select app.cancel_or_remove_export(%s, %s)", (export_id, request_id)).fetchone()
            return None if row is None else row[0]

        return self._pool.execute(cancel_or_remove)

    def _execute(self, workspace_id: str, work: Callable[[psycopg.Cursor[Export]], T]) -> T:
        def run(connection: psycopg.Connection) -> T:
            with _in_workspace(connection, workspace_id) as cursor:
                return work(cursor)

        return self._pool.execute(run)


@contextmanager
def _within_quota() -> Iterator[None]:
    try:
        with limits_checked(EXPORT_LIMITS):
            yield
    except LimitExceeded as error:
        raise QuotaExceeded(error.message) from error


@contextmanager
def _in_workspace(connection: psycopg.Connection, workspace_id: str) -> Iterator[psycopg.Cursor[Export]]:
    """A transaction that sees the exports of one workspace only."""
    with connection.transaction(), connection.cursor(row_factory=class_row(Export)) as cursor:
        apply_settings(connection, {WORKSPACE_ID: workspace_id})
        yield cursor
