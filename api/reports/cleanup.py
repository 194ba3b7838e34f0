"""Repairs the effects of crashes: runs whose export ended unnoticed, deliveries without a job. Deletes old runs."""

from __future__ import annotations

import logging

import psycopg

from api.reports.run_repository import enqueue_deliveries

LOG = logging.getLogger(__name__)
MAX_ROWS = 500

# its export was canceled or removed through the API, or deleted
RUNS_WITH_ENDED_EXPORT = """
    select runs.run_id
    from app.report_runs as runs
    left join app.exports as exports on runs.export_id = exports.export_id
    where
        runs.status = 'processing'
        and (exports.export_id is null or exports.status <> 'processing' or exports.removed_at is not null)
    limit %s
"""
# somebody deleted the job; while a delivery has a job, procrastinate retries it
DELIVERIES_WITHOUT_JOB = """
    select deliveries.run_id, deliveries.channel, deliveries.target
    from app.report_deliveries as deliveries
    where
        deliveries.status = 'pending'
        and deliveries.not_before < clock_timestamp() - interval '1 minute'
        and not app.job_exists(deliveries.job_id)
    limit %s
    for update skip locked
"""
DELETE_OLD_RUNS = """
    delete from app.report_runs where run_id in (
        select run_id from app.report_runs where ended_at < clock_timestamp() - interval '90 days' limit %s
    )
"""


def clean_up_runs(connection: psycopg.Connection) -> None:
    """Does the three repairs, on a connection in autocommit mode. If one fails it is logged, and the others still run."""
    for repair in (_deliver_ended_runs, _enqueue_lost_deliveries, _delete_old_runs):
        try:
            repair(connection)
        except Exception:
            if connection.closed:
                raise
            LOG.exception("the cleanup of report runs failed; the next one tries again")


def _deliver_ended_runs(connection: psycopg.Connection) -> None:
    for (run_id,) in connection.execute(RUNS_WITH_ENDED_EXPORT, (MAX_ROWS,)).fetchall():
        with connection.transaction():
            enqueue_deliveries(connection, run_id)


def _enqueue_lost_deliveries(connection: psycopg.Connection) -> None:
    with connection.transaction():
        for key in connection.execute(DELIVERIES_WITHOUT_JOB, (MAX_ROWS,)).fetchall():
            LOG.warning("the delivery of run %s by %s had lost its job and is queued again", key[0], key[1])
            connection.execute("select app.defer_delivery(%s, %s, %s, 0)", key)


def _delete_old_runs(connection: psycopg.Connection) -> None:
    connection.execute(DELETE_OLD_RUNS, (MAX_ROWS,))
