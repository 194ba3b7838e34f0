"""A job's end is written by the worker that it is with, and by no other."""

from __future__ import annotations

import logging
from datetime import datetime

from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.utils import utcnow

LOG = logging.getLogger(__name__)

# procrastinate's functions look at the id alone: a worker that was frozen, and taken for dead, would end or put back the job
# under the one that took it up. Each time that a job is put back counts an attempt, so worker and attempts name a turn at it
END = """
    with own as materialized (
        select id from procrastinate_jobs
        where id = %(job_id)s and status = 'doing' and worker_id = %(worker_id)s and attempts = %(attempts)s
        for update
    ),

    ended as materialized (
        select {call} from own
    )

    select count(*) as ends from ended
"""
FINISH = END.format(call="procrastinate_finish_job_v1(id, %(status)s, %(delete_job)s)")
RETRY = END.format(call="procrastinate_retry_job_v2(id, %(retry_at)s, %(new_priority)s, %(new_queue_name)s, %(new_lock)s)")


class FencedJobManager(JobManager):
    """Procrastinate's books of jobs, in which an end that comes too late changes nothing."""

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """Ends a job for good."""
        _note(job, await self.connector.execute_query_one_async(FINISH, **_turn(job), status=status.value, delete_job=delete_job))

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Puts a job back."""
        found = await self.connector.execute_query_one_async(
            RETRY,
            **_turn(job),
            retry_at=retry_at or utcnow(),
            new_priority=priority,
            new_queue_name=queue,
            new_lock=lock,
        )
        _note(job, found)


def _turn(job: Job) -> dict[str, int | None]:
    return {"job_id": job.id, "worker_id": job.worker_id, "attempts": job.attempts}


def _note(job: Job, found: dict[str, int]) -> None:
    if not found["ends"]:
        LOG.warning("job %s was taken for lost, and is another worker's by now", job.id)
