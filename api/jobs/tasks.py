"""The queue and the tasks that workers run."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
from procrastinate.jobs import Job

from api.db.connection import conninfo
from api.db.queue_schema import SCHEMA
from api.db.session import check_async_session
from api.errors import ExportUnfinished
from api.jobs.job_manager import FencedJobManager
from api.jobs.running_jobs import RunningJobs
from api.settings import Settings

RETRY_SECONDS = 5
QUEUES = ("exports", "deliveries")
# export id, whether the worker is stopping
RunExport = Callable[[str, Callable[[], bool]], None]
# run id, channel, target
RunDelivery = Callable[[str, str, str], None]


class _AlwaysRetry(BaseRetryStrategy):
    """Retries a job after any failure. The limit of attempts is enforced in app.exports and app.report_deliveries."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        seconds = exception.seconds if isinstance(exception, ExportUnfinished) else RETRY_SECONDS
        return RetryDecision(retry_in={"seconds": seconds})


async def _configure(connection: psycopg.AsyncConnection) -> None:
    is_autocommit = connection.autocommit
    await connection.set_autocommit(True)
    await check_async_session(connection, "mailmart_worker")
    await connection.set_autocommit(is_autocommit)


def make_queue(settings: Settings, run_export: RunExport, run_delivery: RunDelivery, running: RunningJobs) -> App:
    """A procrastinate app whose tasks call the two functions."""
    string = conninfo(settings, "mailmart_worker", options=f"-c search_path={SCHEMA},pg_temp")
    queue = App(connector=PsycopgConnector(conninfo=string, min_size=1, max_size=4, timeout=10, configure=_configure))
    queue.job_manager = FencedJobManager(queue.connector)

    @queue.task(name="export", queue="exports", pass_context=True, retry=_AlwaysRetry())
    def export(context: JobContext, export_id: str) -> None:
        job_id = context.job.id or 0
        running.add(job_id)
        try:
            run_export(export_id, lambda: running.is_stopped or context.should_abort())
        finally:
            running.remove(job_id)

    @queue.task(name="deliver", queue="deliveries", pass_context=True, retry=_AlwaysRetry())
    def deliver(context: JobContext, run_id: str, channel: str, target: str) -> None:
        job_id = context.job.id or 0
        running.add(job_id)
        try:
            run_delivery(run_id, channel, target)
        finally:
            running.remove(job_id)

    return queue
