"""Deletes the files of exports after an erasure is committed. Idempotent: an erasure that was interrupted is completed later."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg

from api.errors import MailmartError, StorageError
from api.exports.formats import FORMATS
from api.exports.storage import Storage

# an attempt that has lost its export notices it within a second
ATTEMPT_SECONDS = 2.0

UNFINISHED = "select erasure_id, export_ids from app.erasures where completed_at is null order by erasure_id"
# an attempt that began after the erasure may go on
CURRENT_ATTEMPTS = """
    select export_id, attempt_token, format from app.exports
    where export_id = any(%s) and status = 'processing' and attempt_token is not null
"""
COMPLETE = "update app.erasures set completed_at = clock_timestamp(), export_ids = '{}' where erasure_id = %s"


def delete_files(connection: psycopg.Connection, storage_of_settings: Callable[[], Storage]) -> int:
    """Deletes the files of all erasures that have some left, on a connection in autocommit mode. Returns the number of exports.

    Raises:
        MailmartError: the storage fails; the next erasure tries again.
    """
    exports = 0
    for erasure_id, export_ids in connection.execute(UNFINISHED).fetchall():
        if export_ids:
            storage = storage_of_settings()
            _delete(connection, storage, export_ids)
            # once more, for an attempt that was writing meanwhile
            time.sleep(ATTEMPT_SECONDS)
            _delete(connection, storage, export_ids)
            exports += len(export_ids)
        connection.execute(COMPLETE, (erasure_id,))
    return exports


def _delete(connection: psycopg.Connection, storage: Storage, export_ids: list[str]) -> None:
    current = {
        export_id: f"{export_id}/{token}.{FORMATS[form].extension}"
        for export_id, token, form in connection.execute(CURRENT_ATTEMPTS, (export_ids,))
    }
    for export_id in export_ids:
        try:
            storage.erase(f"{export_id}/", but=[current[export_id]] if export_id in current else [])
        except StorageError as error:
            raise MailmartError(
                f"the rows are erased, but the files of the export {export_id} are not: {error.message}",
                hint=f"{error.hint} Then run the same command again.",
            ) from error
