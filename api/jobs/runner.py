"""A worker: takes jobs out of the queue until it is told to end, and puts back those of workers that died.

While the database is away it waits, and begins anew: as another worker, for the one that it was may have been taken for dead.
If a job does not let it, the process ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
from procrastinate import App
from procrastinate.exceptions import ConnectorException
from procrastinate.worker import Worker

from api.jobs.recovery import SECONDS_BETWEEN_HEARTBEATS, SECONDS_UNTIL_DEAD, recover
from api.jobs.tasks import QUEUES, Running

LOG = logging.getLogger(__name__)
SECONDS_BETWEEN_RECOVERIES = 5.0
SECONDS_UNTIL_TRIED_AGAIN = 2.0
# jobs that take longer are broken off, and put back
SECONDS_TO_FINISH = 10.0
SECONDS_TO_END = 20.0
# longer than it takes to find that the database is away
SECONDS_TO_BEGIN_ANEW = 60.0
AWAY = (psycopg.Error, ConnectorException, OSError)


def work(make: Callable[[Running], App], concurrency: int) -> None:
    """Runs jobs, at most `concurrency` at a time, until SIGTERM or SIGINT; `make` makes the queue for each beginning."""
    # what it says of every job, ours say as well, in the books
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    asyncio.run(_work(make, concurrency))


async def _work(make: Callable[[Running], App], concurrency: int) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(concurrency + 2, "job"))
    ending = asyncio.Event()

    def end() -> None:
        if not ending.is_set():
            ending.set()
            # a job that does not even break off, in a query that waits for something, would keep the process
            loop.call_later(SECONDS_TO_END, os._exit, 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    while not ending.is_set():
        try:
            await _work_until_lost(make, concurrency, ending)
        except AWAY as error:
            LOG.warning("the worker begins anew in a moment: %s", _said(error))
        if not ending.is_set():
            await asyncio.wait([asyncio.create_task(ending.wait())], timeout=SECONDS_UNTIL_TRIED_AGAIN)


async def _work_until_lost(make: Callable[[Running], App], concurrency: int, ending: asyncio.Event) -> None:
    running = Running()
    queue = make(running)
    try:
        async with queue.open_async():
            worker = Worker(
                queue,
                queues=list(QUEUES),
                concurrency=concurrency,
                fetch_job_polling_interval=2.0,
                abort_job_polling_interval=2.0,
                shutdown_graceful_timeout=SECONDS_TO_FINISH,
                update_heartbeat_interval=SECONDS_BETWEEN_HEARTBEATS,
                stalled_worker_timeout=SECONDS_UNTIL_DEAD,
                # the books of exports and deliveries say what became of a job
                delete_jobs="always",
                install_signal_handlers=False,
            )
            working = asyncio.create_task(worker.run())  # type: ignore[no-untyped-call]
            told = asyncio.create_task(ending.wait())
            recovering = asyncio.create_task(_recover(queue, worker, running))
            LOG.info("the worker takes %s jobs at a time", concurrency)
            try:
                await asyncio.wait([working, told, recovering], return_when=asyncio.FIRST_COMPLETED)
                worker.stop()  # type: ignore[no-untyped-call]
                with _limited(SECONDS_TO_BEGIN_ANEW):
                    await working
                if recovering.done():
                    recovering.result()
            finally:
                recovering.cancel()
                told.cancel()
    finally:
        # what still runs was this worker's, and is so no more
        running.close()


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Ends the process if the block takes longer: threads cannot be ended, and a job in one would keep it from any other."""

    def end() -> None:
        LOG.error("a job does not break off, and the worker cannot begin anew: the process ends, to be started again")
        os._exit(1)

    timer = asyncio.get_running_loop().call_later(seconds, end)
    try:
        yield
    finally:
        timer.cancel()


async def _recover(queue: App, worker: Worker, running: Running) -> None:
    """Puts jobs back while the worker is alive; ends when it is taken for dead."""
    lost: set[int] = set()
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_RECOVERIES)
        if worker.worker_id is not None:
            lost = await recover(queue, worker.worker_id, running, lost)


def _said(error: BaseException) -> str:
    # procrastinate's own errors say nothing; what they come of does
    inner = error.__cause__ or error
    return str(inner).strip() or type(inner).__name__
