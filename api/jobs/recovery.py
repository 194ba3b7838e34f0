"""Returns jobs to the queue if their worker died or lost them."""

from __future__ import annotations

import logging

import psycopg
from procrastinate import App, PsycopgConnector
from psycopg.rows import scalar_row

from api.jobs.queue_sql import IS_HEARTBEAT_STALE, JOBS_OF_WORKER, RETRY_ORPHANED_JOBS
from api.jobs.running_jobs import RunningJobs

LOG = logging.getLogger(__name__)
HEARTBEAT_INTERVAL_SECONDS = 5.0
# app.count_live_workers uses the same timeout
HEARTBEAT_TIMEOUT_SECONDS = 30.0


class StaleHeartbeat(psycopg.OperationalError):
    """This worker's heartbeat is too old: other workers may have recovered its jobs."""


async def recover_jobs(queue: App, worker_id: int, running: RunningJobs, lost: set[int]) -> set[int]:
    """Returns the jobs of dead workers to the queue, and jobs that this worker lost.

    A worker loses a job if the database is unavailable when the job ends: the job is still marked as running, but it is not. A
    job may be just starting or ending, so it counts as lost only if it was missing in the previous call as well.

    Args:
        queue: the procrastinate app, connected to PostgreSQL.
        worker_id: this worker's id.
        running: the jobs that this process runs.
        lost: the return value of the previous call.

    Returns:
        The ids of jobs that are marked as this worker's and are not running here. Pass them to the next call.

    Raises:
        StaleHeartbeat: this worker's own heartbeat is stale.
        psycopg.Error: the database is unavailable.
    """
    connector = queue.connector
    if not isinstance(connector, PsycopgConnector):
        raise TypeError("the queue is not in PostgreSQL")
    async with connector.pool.connection() as connection, connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(IS_HEARTBEAT_STALE, (HEARTBEAT_TIMEOUT_SECONDS - HEARTBEAT_INTERVAL_SECONDS, worker_id))
        if await cursor.fetchone():
            raise StaleHeartbeat("this worker's heartbeat is stale; other workers may have recovered its jobs")
        await cursor.execute(JOBS_OF_WORKER, (worker_id, running.ids()))
        missing = set(await cursor.fetchall())
        await cursor.execute(RETRY_ORPHANED_JOBS, (HEARTBEAT_TIMEOUT_SECONDS, list(missing & lost)))
        for job_id in await cursor.fetchall():
            LOG.warning("job %s was orphaned by its worker; it is queued again", job_id)
    return missing - lost
