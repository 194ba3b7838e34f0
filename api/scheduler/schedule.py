"""Which job runs when. A new scheduled job is a line in `scheduled_jobs`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from functools import partial

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from api.builds.columnstore import convert_old_chunks
from api.builds.compression import DueCompression
from api.builds.continuous import run_continuous_builds
from api.builds.nightly import run_due_nightly_run
from api.builds.retention import run_due_retention
from api.exports.cleanup import clean_up
from api.exports.storage import storage_of
from api.reports.due_reports import run_due_reports
from api.settings import Settings

NIGHTLY_CHECK_INTERVAL_SECONDS = 60
# how soon continuous builds go on after an error, for example of the database
CONTINUOUS_RESTART_SECONDS = 5


@dataclass(frozen=True)
class Job:
    """A scheduled job. It runs when a process becomes the leader and then by its trigger, never twice at a time.

    A job asks the database what there is to do, and does it. So a missed time costs nothing but delay, and a job that was
    interrupted is resumed. It may raise: the error is logged, and the next time comes.

    Attributes:
        name: its name in the log.
        trigger: of APScheduler, in UTC.
        run: what it does, without arguments. A long job gets the event `stopping`, and returns soon after it is set: the process
            stops, or is no longer the leader.
    """

    name: str
    trigger: BaseTrigger
    run: Callable[[], object]


def scheduled_jobs(settings: Settings, stopping: threading.Event) -> list[Job]:
    """Every job of the scheduler. Only production has exports and reports."""
    at = CronTrigger(hour=settings.nightly_at.hour, minute=settings.nightly_at.minute, timezone=UTC)
    # also every minute: a run that was missed, or whose scheduler died, is found soon
    check = IntervalTrigger(seconds=NIGHTLY_CHECK_INTERVAL_SECONDS, timezone=UTC)
    nightly_run = Job("nightly run", OrTrigger([at, check]), partial(run_due_nightly_run, settings, stopping))
    retention = Job("retention", check, partial(run_due_retention, settings, stopping))
    compression = Job("compression", check, DueCompression(settings, stopping).run)
    builds = [nightly_run, retention, compression]
    # it takes its turns itself, and returns when the process stops or no longer leads; if they are off, it records that
    again = check if settings.build_every is None else IntervalTrigger(seconds=CONTINUOUS_RESTART_SECONDS, timezone=UTC)
    builds.append(Job("continuous builds", again, partial(run_continuous_builds, settings, stopping)))
    if not settings.is_production:
        return builds
    return [
        *builds,
        Job("columnstore", IntervalTrigger(hours=1), partial(convert_old_chunks, settings, stopping)),
        Job("due reports", IntervalTrigger(seconds=30, timezone=UTC), partial(run_due_reports, settings)),
        Job("export cleanup", IntervalTrigger(minutes=5, timezone=UTC), partial(clean_up, settings, storage_of(settings))),
    ]
