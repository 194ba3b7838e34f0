"""Jobs whose worker is no more, or no more at them, are put back into the queue."""

from __future__ import annotations

import logging

import psycopg
from procrastinate import App, PsycopgConnector
from psycopg.rows import scalar_row

from api.jobs.tasks import Running

LOG = logging.getLogger(__name__)
SECONDS_BETWEEN_HEARTBEATS = 5.0
SECONDS_UNTIL_DEAD = 30.0


class StaleHeartbeat(psycopg.OperationalError):
    """Others may have taken up this worker's jobs."""


async def recover(queue: App, worker_id: int, running: Running, lost: set[int]) -> set[int]:
    """Puts back the jobs of workers that died, and of this one those that it lost: the database was away when they ended.

    A job of this worker's that is not running counts as lost when it was so the last time as well (`lost`); those of this time
    are returned. A job that is put back is locked: two workers do not put back the same one.

    Raises:
        StaleHeartbeat: this worker's own heartbeat is stale.
        psycopg.Error: the database is away.
    """
    connector = queue.connector
    if not isinstance(connector, PsycopgConnector):
        raise TypeError("the queue is not in PostgreSQL")
    async with connector.pool.connection() as connection, connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            "select coalesce(max(last_heartbeat), '-infinity') < now() - make_interval(secs => %s)"
            " from procrastinate_workers where id = %s",
            (SECONDS_UNTIL_DEAD - SECONDS_BETWEEN_HEARTBEATS, worker_id),
        )
        if await cursor.fetchone():
            raise StaleHeartbeat("this worker's heartbeat is stale; others may have its jobs")
        await cursor.execute(
            "select id from procrastinate_jobs where status = 'doing' and worker_id = %s and id <> all(%s::bigint[])",
            (worker_id, running.jobs()),
        )
        missing = set(await cursor.fetchall())
        await cursor.execute(
            """
            with orphaned as materialized (
                select jobs.id
                from procrastinate_jobs as jobs
                left join procrastinate_workers as workers on jobs.worker_id = workers.id
                where
                    jobs.status = 'doing'
                    and (
                        workers.id is null
                        or workers.last_heartbeat < now() - make_interval(secs => %s)
                        or jobs.id = any(%s::bigint[])
                    )
                for update of jobs skip locked
            )

            select id from orphaned
            cross join lateral procrastinate_retry_job_v2(id, now(), null, null, null)
            """,
            (SECONDS_UNTIL_DEAD, list(missing & lost)),
        )
        for job_id in await cursor.fetchall():
            LOG.warning("job %s was begun by a worker that is no more; it is put back", job_id)
    return missing - lost
