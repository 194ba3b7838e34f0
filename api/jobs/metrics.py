"""Metrics of the job queue."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from api.jobs.tasks import QUEUES
from api.observability.db_metrics import DbMetric


def job_metrics(connection: psycopg.Connection) -> Iterator[DbMetric]:
    """Waiting and running jobs, the wait of the oldest one, and live workers."""
    counted = connection.execute("select queue, waiting, running, oldest_seconds from app.count_jobs()")
    rows = {queue: (waiting, running, seconds) for queue, waiting, running, seconds in counted}
    queues = [(queue, *rows.get(queue, (0, 0, 0.0))) for queue in QUEUES]
    yield DbMetric(
        "mailmart_jobs",
        "Jobs in the queue, by queue and state (waiting, running).",
        [
            ({"queue": queue, "state": state}, count)
            for queue, waiting, running, _ in queues
            for state, count in (("waiting", waiting), ("running", running))
        ],
    )
    yield DbMetric(
        "mailmart_jobs_oldest_waiting_seconds",
        "Seconds that the oldest waiting job has waited for a worker; 0 if no job is waiting.",
        [({"queue": queue}, seconds) for queue, _, _, seconds in queues],
    )
    row = connection.execute("select app.count_live_workers()").fetchone()
    yield DbMetric("mailmart_workers_alive", "Workers with a recent heartbeat.", [({}, row[0] if row else 0)])
