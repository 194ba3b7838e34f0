"""Only the worker that has claimed a job can finish or retry it."""

from __future__ import annotations

import logging
from datetime import datetime

from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.utils import utcnow

from api.jobs.queue_sql import FINISH_JOB, RETRY_JOB

LOG = logging.getLogger(__name__)


class FencedJobManager(JobManager):
    """Procrastinate's job manager, except that an update from a worker that has lost the job changes nothing."""

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """Sets a job's final status, or deletes it."""
        row = await self.connector.execute_query_one_async(FINISH_JOB, **_claim(job), status=status.value, delete_job=delete_job)
        _warn_if_lost(job, row)

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """Returns a job to the queue."""
        row = await self.connector.execute_query_one_async(
            RETRY_JOB,
            **_claim(job),
            retry_at=retry_at or utcnow(),
            new_priority=priority,
            new_queue_name=queue,
            new_lock=lock,
        )
        _warn_if_lost(job, row)


def _claim(job: Job) -> dict[str, int | None]:
    return {"job_id": job.id, "worker_id": job.worker_id, "attempts": job.attempts}


def _warn_if_lost(job: Job, row: dict[str, int]) -> None:
    if not row["updated_jobs"]:
        LOG.warning("job %s was recovered by another worker; this worker's result is ignored", job.id)
