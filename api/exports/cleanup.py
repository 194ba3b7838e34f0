"""Deletes expired files and old rows, and re-enqueues exports that lost their job. The scheduler runs it; it is idempotent."""

from __future__ import annotations

import logging
from datetime import datetime

import psycopg

from api.db.connection import connect
from api.errors import StorageError
from api.exports.storage import Storage
from api.plurals import counted
from api.settings import Settings

LOG = logging.getLogger(__name__)
PAGE_SIZE = 500

EXPIRE = """
    update app.exports set status = 'expired'
    where status = 'completed' and file_expires_at <= clock_timestamp()
"""
# for an hour after an export has failed or was canceled, one of its attempts may still be writing
WITH_UNNEEDED_FILES = """
    select created_at, export_id from app.exports
    where
        (created_at, export_id) > (%s, %s)
        and (
            (status = 'expired' and storage_key is not null)
            or (status in ('failed', 'canceled') and attempt_token is not null)
            or removed_at is not null
        )
        and (
            status not in ('failed', 'canceled')
            or attempt_token is null
            or completed_at < clock_timestamp() - interval '1 hour'
        )
    order by created_at, export_id
    limit %s
"""
# a job can be missing if somebody deleted it, or if the job ended and the update of the export failed
ENQUEUE_AGAIN = """
    with exports_without_job as (
        select export_id, priority from app.exports
        where
            status = 'processing'
            and created_at < clock_timestamp() - interval '1 minute'
            and not app.job_exists(job_id)
        for update skip locked
    )

    update app.exports
    set job_id = app.enqueue(
        'exports', 'export', jsonb_build_object('export_id', exports_without_job.export_id), exports_without_job.priority
    )
    from exports_without_job
    where exports.export_id = exports_without_job.export_id
"""
DELETE_OLD = """
    delete from app.exports
    where
        status in ('expired', 'failed', 'canceled')
        and storage_key is null and attempt_token is null
        and completed_at < clock_timestamp() - interval '90 days'
"""


def clean_up(settings: Settings, storage: Storage) -> int:
    """Returns the number of exports whose files were deleted.

    Raises:
        StorageError: some files could not be deleted (all others were); the next call tries again.
    """
    with connect(settings, "mailmart_worker") as connection:
        connection.autocommit = True
        connection.execute(EXPIRE)
        enqueued = connection.execute(ENQUEUE_AGAIN)
        if enqueued.rowcount:
            LOG.warning("%s exports had lost their job and are queued again", enqueued.rowcount)
        deleted, errors = _delete_files(connection, storage)
        connection.execute(DELETE_OLD)
    if errors:
        raise StorageError(
            f"The files of {counted(len(errors), 'export')} cannot be deleted: {errors[0].message}",
            hint=errors[0].hint,
            is_lasting=errors[0].is_lasting,
        )
    return deleted


def _delete_files(connection: psycopg.Connection, storage: Storage) -> tuple[int, list[StorageError]]:
    deleted = 0
    errors: list[StorageError] = []
    # pages continue after the last row: exports whose files cannot be deleted would fill the first page
    last: tuple[datetime | str, str] = ("-infinity", "")
    while True:
        rows = connection.execute(WITH_UNNEEDED_FILES, (*last, PAGE_SIZE)).fetchall()
        for last in rows:
            export_id = last[1]
            try:
                storage.delete_leftovers(f"{export_id}/")
            except StorageError as error:
                LOG.warning("the files of %s cannot be deleted: %s %s", export_id, error.message, error.hint)
                errors.append(error)
                continue
            deleted += 1
            with connection.transaction():
                connection.execute("delete from app.exports where export_id = %s and removed_at is not null", (export_id,))
                connection.execute(
                    "update app.exports set storage_key = null, attempt_token = null where export_id = %s", (export_id,)
                )
        if len(rows) < PAGE_SIZE:
            return deleted, errors
