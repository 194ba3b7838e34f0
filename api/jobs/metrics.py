"""What metrics say of the queue."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from api.jobs.recovery import SECONDS_UNTIL_DEAD
from api.jobs.tasks import QUEUES
from api.observability.db_metrics import DbMetric


def job_metrics(connection: psycopg.Connection) -> Iterator[DbMetric]:
    """Jobs that wait and that run, how long the oldest has waited, and the workers that live."""
    found = {
        queue: (waiting, running, seconds)
        for queue, waiting, running, seconds in connection.execute(
            """
            with jobs as (
                select
                    jobs.queue_name,
                    jobs.status = 'todo' as is_waiting,
                    -- one that was put back waits again from the moment that was set for it
                    coalesce(
                        jobs.scheduled_at,
                        (select min(events.at) from procrastinate.procrastinate_events as events where events.job_id = jobs.id)
                    ) as waits_since
                from procrastinate.procrastinate_jobs as jobs
                where
                    jobs.status in ('todo', 'doing')
            )

            select
                queue_name,
                count(*) filter (where is_waiting),
                count(*) filter (where not is_waiting),
                coalesce(
                    extract(epoch from clock_timestamp() - min(waits_since) filter (where is_waiting and waits_since <= now())),
                    0
                )::float
            from jobs
            group by queue_name
            """
        )
    }
    figures = [(queue, *found.get(queue, (0, 0, 0.0))) for queue in QUEUES]
    yield DbMetric(
        "mailmart_jobs",
        "Jobs in the queue: waiting, or running.",
        [
            ({"queue": queue, "state": state}, count)
            for queue, waiting, running, _ in figures
            for state, count in (("waiting", waiting), ("running", running))
        ],
    )
    yield DbMetric(
        "mailmart_jobs_oldest_waiting_seconds",
        "How long the oldest job has waited for a worker; 0 without any.",
        [({"queue": queue}, seconds) for queue, _, _, seconds in figures],
    )
    row = connection.execute(
        "select count(*) from procrastinate.procrastinate_workers where last_heartbeat > now() - make_interval(secs => %s)",
        (SECONDS_UNTIL_DEAD,),
    ).fetchone()
    yield DbMetric("mailmart_workers_alive", "Workers whose heart beats.", [({}, row[0] if row else 0)])
