"""What a worker writes to app.exports. Each update is conditional on the attempt's token: an outdated attempt changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from api.exports.outcome import WrittenFile
from api.exports.repository import EXPORT_COLUMNS, Export

MAX_ATTEMPTS = 3
FILE_RETENTION_DAYS = 7
# called in the transaction in which an export ends, with its id
OnEnded = Callable[[psycopg.Connection, str], None]


class AttemptRepository:
    """Writes the state of exports on one connection, which is in autocommit mode."""

    def __init__(self, connection: psycopg.Connection, on_ended: OnEnded) -> None:
        self._connection = connection
        self._on_ended = on_ended

    def claim(self, export_id: str, token: str) -> Export | None:
        """Starts an attempt, the only one that may write from now on. None if the export has ended or has no attempts left."""
        with self._connection.transaction(), self._connection.cursor(row_factory=class_row(Export)) as cursor:
            return cursor.execute(
                sql.SQL(
                    "update app.exports"
                    " set attempts = attempts + 1, attempt_token = %s, started_at = clock_timestamp(), units_written = 0"
                    " where export_id = %s and status = 'processing' and attempts < %s returning {}"
                ).format(EXPORT_COLUMNS),
                (token, export_id, MAX_ATTEMPTS),
            ).fetchone()

    def fail_exhausted(self, export_id: str, reason: str) -> Export | None:
        """Fails the export if its attempts are used up, and returns it; None if attempts are left or it has already ended."""
        with self._connection.cursor(row_factory=class_row(Export)) as cursor:
            export = cursor.execute(
                sql.SQL("select {} from app.exports where export_id = %s").format(EXPORT_COLUMNS), (export_id,)
            ).fetchone()
        is_ended = self._end(export_id, "status = 'failed', error = %s", (reason,), "attempts >= %s", MAX_ATTEMPTS)
        return export if is_ended else None

    def report_progress(self, token: str, units_written: int) -> bool:
        """Stores an attempt's progress. False if the export was canceled or another attempt has started."""
        updated = self._connection.execute(
            "update app.exports set units_written = %s where attempt_token = %s and status = 'processing'",
            (units_written, token),
        )
        return updated.rowcount == 1

    def complete(self, export_id: str, token: str, file: WrittenFile) -> bool:
        """Completes an export with its file. False if it was canceled or another attempt has started."""
        return self._end(
            export_id,
            "status = 'completed', units_written = units_total, row_count = %s, file_size_bytes = %s, sha256 = %s,"
            " storage_key = %s, data_as_of = %s,"
            f" file_expires_at = clock_timestamp() + interval '{FILE_RETENTION_DAYS} days'",
            (file.rows, file.size, file.sha256, file.storage_key, file.data_as_of),
            "attempt_token = %s",
            token,
        )

    def fail(self, export_id: str, token: str, reason: str) -> bool:
        """Fails an export; its user sees the reason. False if it was canceled or another attempt has started."""
        return self._end(export_id, "status = 'failed', error = %s", (reason,), "attempt_token = %s", token)

    def is_current_attempt(self, token: str) -> bool:
        """Whether the export is still processing, by this attempt."""
        row = self._connection.execute(
            "select from app.exports where attempt_token = %s and status = 'processing'", (token,)
        ).fetchone()
        return row is not None

    def release(self, token: str) -> bool:
        """Gives an attempt back that a stopping worker aborted: it does not count. False if another attempt has started."""
        released = self._connection.execute(
            "update app.exports set attempts = attempts - 1, attempt_token = null, units_written = 0"
            " where attempt_token = %s and status = 'processing'",
            (token,),
        )
        return released.rowcount == 1

    def _end(
        self,
        export_id: str,
        assignments: LiteralString,
        values: tuple[Any, ...],
        condition: LiteralString,
        condition_value: Any,
    ) -> bool:
        with self._connection.transaction():
            ended = self._connection.execute(
                f"update app.exports set {assignments}, completed_at = clock_timestamp()"  # noqa: S608 - literals of this file
                f" where export_id = %s and status = 'processing' and {condition}",
                (*values, export_id, condition_value),
            )
            if ended.rowcount == 0:
                return False
            self._on_ended(self._connection, export_id)
            return True
