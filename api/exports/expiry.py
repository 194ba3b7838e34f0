"""Files go after seven days, and so does what attempts that died have left. Called by the timetable; safe at any time."""

from __future__ import annotations

import logging

import psycopg

from api.database import connect
from api.exports.storage import Storage
from api.settings import Settings

LOG = logging.getLogger(__name__)
AT_A_TIME = 500

# an attempt that was taken for dead may write for a while yet
ENDED = """
    update app.exports set status = 'expired'
    where status = 'completed' and file_expires_at <= clock_timestamp()
"""
WITH_FILES = """
    select export_id from app.exports
    where
        (status = 'expired' and storage_key is not null)
        or (
            status in ('failed', 'canceled')
            and attempt_token is not null
            and completed_at < clock_timestamp() - interval '1 hour'
        )
        or removed_at is not null
    order by created_at
    limit %s
"""
# a job that is gone was deleted by hand, or its end was written and the export's was not
WITHOUT_JOB = """
    with lost as (
        select export_id, priority from app.exports
        where
            status = 'processing'
            and created_at < clock_timestamp() - interval '1 minute'
            and not exists (select from procrastinate.procrastinate_jobs as jobs where jobs.id = exports.job_id)
        for update skip locked
    )

    update app.exports
    set job_id = (
        procrastinate_defer_jobs_v1(
            array[
                (
                    'exports', 'export', lost.priority, null, null, jsonb_build_object('export_id', lost.export_id), null
                )::procrastinate_job_to_defer_v1
            ]
        )
    )[1]
    from lost
    where exports.export_id = lost.export_id
"""
LONG_AGO = """
    delete from app.exports
    where
        status in ('expired', 'failed', 'canceled')
        and storage_key is null and attempt_token is null
        and completed_at < clock_timestamp() - interval '90 days'
"""


def clean_up(settings: Settings, storage: Storage) -> int:
    """Removes files whose time is over or whose export is gone, and gives exports without a job a new one; how many files' worth.

    Raises:
        StorageError: a file cannot be removed; it is tried again the next time.
    """
    with connect(settings, "mailmart_worker") as connection:
        connection.autocommit = True
        connection.execute("set search_path = procrastinate, pg_temp")
        connection.execute(ENDED)
        found = connection.execute(WITHOUT_JOB)
        if found.rowcount:
            LOG.warning("%s exports had no job, and have one again", found.rowcount)
        removed = _remove_files(connection, storage)
        connection.execute(LONG_AGO)
    return removed


def _remove_files(connection: psycopg.Connection, storage: Storage) -> int:
    removed = 0
    while True:
        ids = [export_id for (export_id,) in connection.execute(WITH_FILES, (AT_A_TIME,))]
        for export_id in ids:
            storage.delete_leftovers(f"{export_id}/")
            with connection.transaction():
                connection.execute("delete from app.exports where export_id = %s and removed_at is not null", (export_id,))
                connection.execute(
                    "update app.exports set storage_key = null, attempt_token = null where export_id = %s", (export_id,)
                )
        removed += len(ids)
        if len(ids) < AT_A_TIME:
            return removed
