"""Files go after seven days, and so does what attempts that died have left. Called by the timetable; safe at any time."""

from __future__ import annotations

import logging
from datetime import datetime

import psycopg

from api.db.connection import connect
from api.errors import StorageError
from api.exports.storage import Storage
from api.settings import Settings

LOG = logging.getLogger(__name__)
AT_A_TIME = 500

ENDED = """
    update app.exports set status = 'expired'
    where status = 'completed' and file_expires_at <= clock_timestamp()
"""
# an attempt at what failed or was canceled, or one that was taken for dead there, may write for a while yet
WITH_FILES = """
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
        StorageError: some files cannot be removed, and all others are; it is tried again the next time.
    """
    with connect(settings, "mailmart_worker") as connection:
        connection.autocommit = True
        connection.execute("set search_path = procrastinate, pg_temp")
        connection.execute(ENDED)
        found = connection.execute(WITHOUT_JOB)
        if found.rowcount:
            LOG.warning("%s exports had no job, and have one again", found.rowcount)
        removed, problems = _remove_files(connection, storage)
        connection.execute(LONG_AGO)
    if problems:
        raise StorageError(
            f"The files of {len(problems)} exports cannot be removed: {problems[0].message}",
            hint=problems[0].hint,
            is_lasting=problems[0].is_lasting,
        )
    return removed


def _remove_files(connection: psycopg.Connection, storage: Storage) -> tuple[int, list[StorageError]]:
    removed = 0
    problems: list[StorageError] = []
    # after the last one, and not the first that are left: those that cannot be removed would fill the page
    place: tuple[datetime | str, str] = ("-infinity", "")
    while True:
        found = connection.execute(WITH_FILES, (*place, AT_A_TIME)).fetchall()
        for place in found:
            export_id = place[1]
            try:
                storage.delete_leftovers(f"{export_id}/")
            except StorageError as error:
                LOG.warning("the files of %s cannot be removed: %s %s", export_id, error.message, error.hint)
                problems.append(error)
                continue
            removed += 1
            with connection.transaction():
                connection.execute("delete from app.exports where export_id = %s and removed_at is not null", (export_id,))
                connection.execute(
                    "update app.exports set storage_key = null, attempt_token = null where export_id = %s", (export_id,)
                )
        if len(found) < AT_A_TIME:
            return removed, problems
