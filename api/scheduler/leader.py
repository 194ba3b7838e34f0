"""The scheduler: of all its processes one leads, and runs the timetable; the others stand by."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import psycopg
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from api.db.advisory_lock import AdvisoryLock
from api.errors import ServerError
from api.scheduler.schedule import Job, timetable
from api.settings import Settings

LOG = logging.getLogger(__name__)
SECONDS_BETWEEN_TRIES_TO_LEAD = 2.0
SECONDS_TO_FINISH = 20.0

Jobs = Callable[[Settings, threading.Event], list[Job]]


def run_scheduler(settings: Settings, ending: threading.Event, jobs: Jobs = timetable) -> None:
    """Leads, or waits until it can, until `ending` is set; jobs that run are finished or, the long ones, broken off.

    Leading is a lock in the database that goes with its connection. The database may be away; nothing is led until it is back.

    Raises:
        SettingsError: no database is configured.
        ServerError: a job does not end, so this process must.
    """
    # its lines about each start of a job would be all that a log has
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    was_told = ""
    with AdvisoryLock(settings, f"mailmart.scheduler.{settings.target}") as lock:
        while not ending.is_set():
            state = _try_to_lead(lock)
            if state == "leads":
                LOG.info("leading")
                _lead(settings, lock, ending, jobs)
            elif state != was_told:
                LOG.log(logging.INFO if state == "standing by" else logging.WARNING, state)
            was_told = state
            if not ending.is_set():
                ending.wait(SECONDS_BETWEEN_TRIES_TO_LEAD)
    LOG.info("ended")


def _try_to_lead(lock: AdvisoryLock) -> str:
    try:
        return "leads" if lock.acquire() else "standing by"
    except psycopg.OperationalError as error:
        return f"no connection: {error}"


def _lead(settings: Settings, lock: AdvisoryLock, ending: threading.Event, jobs: Jobs) -> None:
    over = threading.Event()
    todo = jobs(settings, over)
    scheduler = BackgroundScheduler(
        timezone=UTC,
        # each has a thread, so that a long one keeps none waiting
        executors={"default": ThreadPoolExecutor(len(todo) or 1)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 3600},
    )
    for job in todo:
        scheduler.add_job(partial(_run, job), job.trigger, id=job.name, next_run_time=datetime.now(UTC))
    scheduler.start()
    try:
        while not ending.is_set():
            if not lock.wait_while_held(0.5):
                LOG.warning("the connection of the lock is gone: leading no longer")
                break
    finally:
        # nothing new begins from here on
        over.set()
        _shut_down(scheduler)
        lock.release()


def _shut_down(scheduler: BackgroundScheduler) -> None:
    finishing = threading.Thread(target=scheduler.shutdown, name="finishing", daemon=True)
    finishing.start()
    finishing.join(SECONDS_TO_FINISH)
    if finishing.is_alive():
        raise ServerError(f"a job has not ended within {SECONDS_TO_FINISH:g} s", hint="The process ends without it.")


def _run(job: Job) -> None:
    try:
        job.run()
    except psycopg.OperationalError as error:
        LOG.warning("%s: no connection: %s", job.name, error)
    except Exception:
        LOG.exception("%s failed", job.name)
