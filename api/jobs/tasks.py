"""The tasks that workers run, and the queue that holds them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
from procrastinate.jobs import Job

from api.db.connection import conninfo
from api.db.queue_schema import SCHEMA
from api.errors import ExportUnfinished
from api.jobs.job_manager import FencedJobManager
from api.settings import Settings

SECONDS_AFTER_A_FAILURE = 5
QUEUES = ("exports", "deliveries")
# export id, whether the worker is told to end
RunExport = Callable[[str, Callable[[], bool]], None]
# run id, channel, target
RunDelivery = Callable[[str, str, str], None]


@dataclass
class Running:
    """The jobs that a worker of this process is at; `is_over` once it is another worker's turn."""

    # one can be there twice: it was taken for lost, and came back here
    _jobs: list[int] = field(default_factory=list)
    is_over: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, job_id: int) -> None:
        """Notes a job."""
        with self._lock:
            self._jobs.append(job_id)

    def end(self, job_id: int) -> None:
        """Forgets it, once."""
        with self._lock:
            self._jobs.remove(job_id)

    def close(self) -> None:
        """Tells those that still run to break off."""
        self.is_over = True

    def jobs(self) -> list[int]:
        """Those that run now."""
        with self._lock:
            return list(self._jobs)


class _PutBack(BaseRetryStrategy):
    """A job that fails is put back, whatever failed; how often it is begun is counted in the export's books."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        seconds = exception.seconds if isinstance(exception, ExportUnfinished) else SECONDS_AFTER_A_FAILURE
        return RetryDecision(retry_in={"seconds": seconds})


def make_queue(settings: Settings, run_export: RunExport, run_delivery: RunDelivery, running: Running) -> App:
    """The queue, and what is done for its jobs."""
    string = conninfo(settings, "mailmart_worker", options=f"-c search_path={SCHEMA},pg_temp")
    queue = App(connector=PsycopgConnector(conninfo=string, min_size=1, max_size=4, timeout=10))
    queue.job_manager = FencedJobManager(queue.connector)

    @queue.task(name="export", queue="exports", pass_context=True, retry=_PutBack())
    def export(context: JobContext, export_id: str) -> None:
        job_id = context.job.id or 0
        running.begin(job_id)
        try:
            run_export(export_id, lambda: running.is_over or context.should_abort())
        finally:
            running.end(job_id)

    @queue.task(name="deliver", queue="deliveries", pass_context=True, retry=_PutBack())
    def deliver(context: JobContext, run_id: str, channel: str, target: str) -> None:
        job_id = context.job.id or 0
        running.begin(job_id)
        try:
            run_delivery(run_id, channel, target)
        finally:
            running.end(job_id)

    return queue
