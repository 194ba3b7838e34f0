"""The scheduler: one of its processes leads and runs the scheduled jobs; the others are on standby."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import psycopg
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from api.db.advisory_lock import AdvisoryLock
from api.errors import ServerError
from api.scheduler.schedule import Job, scheduled_jobs
from api.settings import Settings

LOG = logging.getLogger(__name__)
SECONDS_BETWEEN_ATTEMPTS_TO_LEAD = 2.0
SECONDS_TO_FINISH = 20.0
# what a clock may be set back by without a job being late
TOLERATED_SECONDS = 5.0

Jobs = Callable[[Settings, threading.Event], list[Job]]


def run_scheduler(settings: Settings, stopping: threading.Event, jobs: Jobs = scheduled_jobs) -> None:
    """Leads, or waits until it can, until `stopping` is set. Jobs that are running finish; long ones are interrupted.

    The leader holds a lock in the database, which goes with its connection. While the database is unavailable, nobody leads.

    Raises:
        SettingsError: no database is configured.
        ServerError: a job does not end, so the process has to.
    """
    # a line for each start of a job would be all that the log has
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    logged_state = ""
    with AdvisoryLock(settings, f"mailmart.scheduler.{settings.target}") as lock:
        while not stopping.is_set():
            state = _try_to_lead(lock)
            if state == "leading":
                LOG.info("leading")
                _lead(settings, lock, stopping, jobs)
            elif state != logged_state:
                LOG.log(logging.INFO if state == "on standby" else logging.WARNING, state)
            logged_state = state
            if not stopping.is_set():
                stopping.wait(SECONDS_BETWEEN_ATTEMPTS_TO_LEAD)
    LOG.info("stopped")


def _try_to_lead(lock: AdvisoryLock) -> str:
    try:
        return "leading" if lock.acquire() else "on standby"
    except psycopg.OperationalError as error:
        return f"no connection: {error}"


def _lead(settings: Settings, lock: AdvisoryLock, stopping: threading.Event, jobs: Jobs) -> None:
    interrupt = threading.Event()
    to_run = jobs(settings, interrupt)
    scheduler = BackgroundScheduler(
        timezone=UTC,
        # a thread for each job, so that a long one blocks no other
        executors={"default": ThreadPoolExecutor(len(to_run) or 1)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 3600},
    )
    for job in to_run:
        scheduler.add_job(partial(_run, job), job.trigger, id=job.name, next_run_time=datetime.now(UTC))
    scheduler.start()
    clock = _Clock()
    try:
        while not stopping.is_set():
            if clock.was_set_back():
                LOG.warning("the clock of this machine was set back: all jobs run now")
                # else each would wait until its time by the clock of before, which can be years ahead
                for job_to_run in scheduler.get_jobs():
                    job_to_run.modify(next_run_time=datetime.now(UTC))
            if not lock.wait_while_held(0.5):
                LOG.warning("lost the connection that holds the lock: no longer leading")
                break
    finally:
        interrupt.set()
        _shut_down(scheduler)
        lock.release()


class _Clock:
    """Compares the clock of the machine, by which jobs are scheduled, with one that nobody sets."""

    def __init__(self) -> None:
        self._difference = self._measure()

    def was_set_back(self) -> bool:
        """Whether the clock was set back since the call before."""
        before, self._difference = self._difference, self._measure()
        return before - self._difference > TOLERATED_SECONDS

    def _measure(self) -> float:
        return datetime.now(UTC).timestamp() - time.monotonic()


def _shut_down(scheduler: BackgroundScheduler) -> None:
    finishing = threading.Thread(target=scheduler.shutdown, name="scheduler-shutdown", daemon=True)
    finishing.start()
    finishing.join(SECONDS_TO_FINISH)
    if finishing.is_alive():
        raise ServerError(f"a job did not end within {SECONDS_TO_FINISH:g} s", hint="The process exits anyway.")


def _run(job: Job) -> None:
    try:
        job.run()
    except psycopg.OperationalError as error:
        LOG.warning("%s: no connection: %s", job.name, error)
    except Exception:
        LOG.exception("%s failed", job.name)
