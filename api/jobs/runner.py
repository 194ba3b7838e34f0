"""The worker loop: runs jobs until it is stopped, and recovers the jobs of dead workers.

If the database becomes unavailable, the loop waits and starts again under a new worker id, because other workers may have
recovered the old one's jobs. If a running job prevents that, the process exits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psycopg
from procrastinate import App
from procrastinate.exceptions import ConnectorException
from procrastinate.worker import Worker

from api.jobs.recovery import HEARTBEAT_INTERVAL_SECONDS, HEARTBEAT_TIMEOUT_SECONDS, recover_jobs
from api.jobs.running_jobs import RunningJobs
from api.jobs.tasks import QUEUES

LOG = logging.getLogger(__name__)
RECOVERY_INTERVAL_SECONDS = 5.0
RESTART_DELAY_SECONDS = 2.0
# jobs that take longer are aborted and queued again
GRACEFUL_SHUTDOWN_SECONDS = 10.0
SHUTDOWN_TIMEOUT_SECONDS = 20.0
# more than it takes to notice that the database is unavailable
RESTART_TIMEOUT_SECONDS = 60.0
CONNECTION_ERRORS = (psycopg.Error, ConnectorException, OSError)
MakeQueue = Callable[[RunningJobs], App]


def run_jobs(make_queue: MakeQueue, concurrency: int) -> None:
    """Runs up to `concurrency` jobs at a time until SIGTERM or SIGINT. Each restart of the loop makes a new queue."""
    # procrastinate logs each job; exports and deliveries have log lines of their own
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    asyncio.run(_run(make_queue, concurrency))


async def _run(make_queue: MakeQueue, concurrency: int) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(concurrency + 2, "job"))
    stopping = asyncio.Event()

    def stop() -> None:
        if not stopping.is_set():
            stopping.set()
            # a job that waits in a query cannot be aborted and would keep the process alive
            loop.call_later(SHUTDOWN_TIMEOUT_SECONDS, os._exit, 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    while not stopping.is_set():
        try:
            await _run_until_disconnected(make_queue, concurrency, stopping)
        except CONNECTION_ERRORS as error:
            LOG.warning("the worker restarts in %s s: %s", RESTART_DELAY_SECONDS, _message(error))
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), RESTART_DELAY_SECONDS)


async def _run_until_disconnected(make_queue: MakeQueue, concurrency: int, stopping: asyncio.Event) -> None:
    running = RunningJobs()
    queue = make_queue(running)
    try:
        async with queue.open_async():
            worker = Worker(
                queue,
                queues=list(QUEUES),
                concurrency=concurrency,
                fetch_job_polling_interval=2.0,
                abort_job_polling_interval=2.0,
                shutdown_graceful_timeout=GRACEFUL_SHUTDOWN_SECONDS,
                update_heartbeat_interval=HEARTBEAT_INTERVAL_SECONDS,
                stalled_worker_timeout=HEARTBEAT_TIMEOUT_SECONDS,
                # results are in app.exports and app.report_deliveries
                delete_jobs="always",
                install_signal_handlers=False,
            )
            working = asyncio.create_task(worker.run())  # type: ignore[no-untyped-call]
            stop_requested = asyncio.create_task(stopping.wait())
            recovering = asyncio.create_task(_recover_periodically(queue, worker, running))
            LOG.info("the worker runs up to %s jobs at a time", concurrency)
            try:
                await asyncio.wait([working, stop_requested, recovering], return_when=asyncio.FIRST_COMPLETED)
                worker.stop()  # type: ignore[no-untyped-call]
                with _exit_after(RESTART_TIMEOUT_SECONDS):
                    await working
                if recovering.done():
                    recovering.result()
            finally:
                recovering.cancel()
                stop_requested.cancel()
    finally:
        # jobs that still run no longer belong to this worker
        running.stop()


@contextmanager
def _exit_after(seconds: float) -> Iterator[None]:
    """Exits the process if the block takes longer: a thread cannot be killed, and its job would block this worker forever."""

    def exit_process() -> None:
        LOG.error("a job cannot be aborted, so the worker cannot restart: the process exits, to be started again")
        os._exit(1)

    timer = asyncio.get_running_loop().call_later(seconds, exit_process)
    try:
        yield
    finally:
        timer.cancel()


async def _recover_periodically(queue: App, worker: Worker, running: RunningJobs) -> None:
    """Recovers jobs until this worker's own heartbeat is stale."""
    lost: set[int] = set()
    while True:
        await asyncio.sleep(RECOVERY_INTERVAL_SECONDS)
        if worker.worker_id is not None:
            lost = await recover_jobs(queue, worker.worker_id, running, lost)


def _message(error: BaseException) -> str:
    # procrastinate's own errors are empty; their cause is not
    inner = error.__cause__ or error
    return str(inner).strip() or type(inner).__name__
