"""The books of exports, app.exports: every read and every write of them. A workspace's own are seen by its requests alone."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from api.db.pool import ConnectionPool
from api.db.request_context import WORKSPACE_ID, apply_settings
from api.exports.request_schema import Resolved
from api.reports.run_repository import export_ended

Status = Literal["processing", "completed", "failed", "expired", "canceled"]
STATUSES: tuple[Status, ...] = ("processing", "completed", "failed", "expired", "canceled")
T = TypeVar("T")
MAX_ATTEMPTS = 3
DAYS_KEPT = 7


@dataclass(frozen=True)
class Written:
    """A file that was written whole."""

    rows: int
    size: int
    sha256: str
    storage_key: str
    data_as_of: datetime


@dataclass(frozen=True)
class Export:
    """A row of app.exports; see the comments of its columns."""

    export_id: str
    workspace_id: str
    export_type: str
    format: str
    request: dict[str, Any]
    resolved: dict[str, Any]
    size: int
    status: Status
    attempts: int
    done: int
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

    @property
    def progress(self) -> int:
        """Percent of the size that is written: 100 only once it is completed."""
        if self.status in ("completed", "expired"):
            return 100
        return min(self.done * 100 // max(self.size, 1), 99)


COLUMNS = sql.SQL(", ").join(sql.Identifier(name) for name in Export.__dataclass_fields__)


@contextmanager
def in_workspace(connection: psycopg.Connection, workspace_id: str) -> Iterator[psycopg.Cursor[Export]]:
    """A transaction of a workspace: it sees that one's exports, and makes exports of it."""
    with connection.transaction(), connection.cursor(row_factory=class_row(Export)) as cursor:
        apply_settings(connection, {WORKSPACE_ID: workspace_id})
        yield cursor


def new_export_id() -> str:
    """An id that nobody guesses."""
    return f"exp_{secrets.token_hex(12)}"


def request_export(
    connection: psycopg.Connection,
    workspace_id: str,
    export_id: str,
    body: dict[str, Any],
    resolved: Resolved,
    size: int,
    idempotency_key: str | None = None,
) -> Export:
    """Makes an export and its job in one transaction; or finds the one that has the id or the key, whose request may differ."""
    with in_workspace(connection, workspace_id) as cursor:
        return _one(
            cursor.execute(
                sql.SQL("select {} from app.request_export(%s, %s, %s, %s, %s, %s, %s)").format(COLUMNS),
                (
                    export_id,
                    body["export_type"],
                    body["format"],
                    json.dumps(body),
                    json.dumps(resolved.to_json()),
                    size,
                    idempotency_key,
                ),
            )
        )


class ExportRepository:
    """A workspace's exports, as the API shows them."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def request(
        self, workspace_id: str, body: dict[str, Any], resolved: Resolved, size: int, idempotency_key: str | None
    ) -> Export:
        """Asks for an export. Should the connection die when it is made, the second try finds it."""
        export_id = new_export_id()
        return self._pool.execute(
            lambda connection: request_export(connection, workspace_id, export_id, body, resolved, size, idempotency_key)
        )

    def find(self, workspace_id: str, export_id: str) -> Export | None:
        """One of them; None where there is none."""
        return self._in(
            workspace_id,
            lambda cursor: cursor.execute(
                sql.SQL("select {} from app.exports where export_id = %s").format(COLUMNS), (export_id,)
            ).fetchone(),
        )

    def page(self, workspace_id: str, limit: int, before: tuple[datetime, str] | None) -> list[Export]:
        """The latest ones, or those before the place (time of creation, id), newest first."""
        # a place that is after all, where none is asked for
        created_at, export_id = before or ("infinity", "")
        return self._in(
            workspace_id,
            lambda cursor: cursor.execute(
                sql.SQL(
                    "select {} from app.exports where (created_at, export_id) < (%s::timestamptz, %s)"
                    " order by created_at desc, export_id desc limit %s"
                ).format(COLUMNS),
                (created_at, export_id, limit),
            ).fetchall(),
        )

    def cancel_or_remove(self, workspace_id: str, export_id: str) -> str | None:
        """Ends one: canceled or removed; None where there is none.

        Should the connection die when it is done, the second try, under the same name, is told so.
        """
        asked_by = secrets.token_hex(8)

        def end(connection: psycopg.Connection) -> str | None:
            with in_workspace(connection, workspace_id):
                found = connection.execute("select app.cancel_or_remove_export(%s, %s)", (export_id, asked_by)).fetchone()
            return None if found is None else found[0]

        return self._pool.execute(end)

    def _in(self, workspace_id: str, work: Callable[[psycopg.Cursor[Export]], T]) -> T:
        def run(connection: psycopg.Connection) -> T:
            with in_workspace(connection, workspace_id) as cursor:
                return work(cursor)

        return self._pool.execute(run)


def _one(cursor: psycopg.Cursor[Export]) -> Export:
    found = cursor.fetchone()
    if found is None:
        raise LookupError("a row that was just written is not there")
    return found


# what a worker writes; each names its attempt, so that one that was taken for dead changes nothing


def claim(connection: psycopg.Connection, export_id: str, token: str) -> Export | None:
    """Begins an attempt, which alone may write from now on; None where there is nothing to do, or it was tried too often."""
    with connection.transaction(), connection.cursor(row_factory=class_row(Export)) as cursor:
        return cursor.execute(
            sql.SQL(
                "update app.exports set attempts = attempts + 1, attempt_token = %s, started_at = clock_timestamp(), done = 0"
                " where export_id = %s and status = 'processing' and attempts < %s returning {}"
            ).format(COLUMNS),
            (token, export_id, MAX_ATTEMPTS),
        ).fetchone()


def fail_exhausted(connection: psycopg.Connection, export_id: str, reason: str) -> Export | None:
    """Ends an export whose attempts all died; None where it is none of these."""
    with connection.cursor(row_factory=class_row(Export)) as cursor:
        export = cursor.execute(
            sql.SQL("select {} from app.exports where export_id = %s").format(COLUMNS), (export_id,)
        ).fetchone()
    ended = _ends(connection, export_id, "status = 'failed', error = %s", "attempts >= %s", (reason,), (MAX_ATTEMPTS,))
    return export if ended else None


def note_progress(connection: psycopg.Connection, token: str, done: int) -> bool:
    """Says how far an attempt is; false where it is the attempt no more: canceled, or somebody else's."""
    noted = connection.execute(
        "update app.exports set done = %s where attempt_token = %s and status = 'processing'", (done, token)
    )
    return noted.rowcount == 1


def complete(connection: psycopg.Connection, export: Export, token: str, written: Written) -> bool:
    """Ends an export with its file; false where it is somebody else's by now, or was canceled."""
    return _ends(
        connection,
        export.export_id,
        "status = 'completed', done = size, row_count = %s, file_size_bytes = %s, sha256 = %s, storage_key = %s, data_as_of = %s,"
        f" file_expires_at = clock_timestamp() + interval '{DAYS_KEPT} days'",
        "attempt_token = %s",
        (written.rows, written.size, written.sha256, written.storage_key, written.data_as_of),
        (token,),
    )


def fail(connection: psycopg.Connection, export: Export, token: str, reason: str) -> bool:
    """Ends an export without a file; its users read the reason."""
    return _ends(connection, export.export_id, "status = 'failed', error = %s", "attempt_token = %s", (reason,), (token,))


def is_current_attempt(connection: psycopg.Connection, token: str) -> bool:
    """Whether the attempt is the one that counts."""
    return (
        connection.execute("select from app.exports where attempt_token = %s and status = 'processing'", (token,)).fetchone()
        is not None
    )


def release(connection: psycopg.Connection, token: str) -> bool:
    """An attempt that its worker broke off when it was stopped is none; false where it was another's turn already."""
    handed = connection.execute(
        "update app.exports set attempts = attempts - 1, attempt_token = null, done = 0"
        " where attempt_token = %s and status = 'processing'",
        (token,),
    )
    return handed.rowcount == 1


def _ends(
    connection: psycopg.Connection,
    export_id: str,
    assignments: LiteralString,
    condition: LiteralString,
    assigned: tuple[Any, ...],
    compared: tuple[Any, ...],
) -> bool:
    with connection.transaction():
        ended = connection.execute(
            f"update app.exports set {assignments}, completed_at = clock_timestamp()"  # noqa: S608 - literals of this file
            f" where export_id = %s and status = 'processing' and {condition}",
            (*assigned, export_id, *compared),
        )
        if ended.rowcount == 0:
            return False
        # whoever waits for it is told in the same transaction
        export_ended(connection, export_id)
        return True
