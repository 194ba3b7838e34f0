"""What runs when. The scheduler's whole list of jobs: a new one is a line here."""

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

from api.builds.nightly import run_due_night
from api.exports.cleanup import clean_up
from api.exports.storage import storage_of
from api.reports.due_reports import run_due_reports
from api.settings import Settings

SECONDS_BETWEEN_LOOKS_AT_THE_NIGHT = 60


@dataclass(frozen=True)
class Job:
    """One job: it runs when a process becomes the leader, and then by its trigger; never twice at a time.

    A job asks the database what there is to do, and does it: so a moment that was missed, whatever was down, is made up for by
    the next one, and a job that was broken off is gone on with. It may raise; that is logged, and the next moment comes.

    Attributes:
        name: in the log.
        trigger: of APScheduler, in UTC.
        run: what it does; `partial(function, settings)`. One that takes long is also given `ending`, and returns soon after
            that is set: the process ends, or leads no longer.
    """

    name: str
    trigger: BaseTrigger
    run: Callable[[], object]


def timetable(settings: Settings, ending: threading.Event) -> list[Job]:
    """Every job of the scheduler; another target than production has its nights, and nothing else that is its own."""
    at = CronTrigger(hour=settings.nightly_at.hour, minute=settings.nightly_at.minute, timezone=UTC)
    # at its time, and again and again: a night that was missed, or whose scheduler died, is found within a minute
    looking = IntervalTrigger(seconds=SECONDS_BETWEEN_LOOKS_AT_THE_NIGHT, timezone=UTC)
    nights = Job("nightly batch", OrTrigger([at, looking]), partial(run_due_night, settings, ending))
    if not settings.is_production:
        return [nights]
    return [
        nights,
        Job("due reports", IntervalTrigger(seconds=30, timezone=UTC), partial(run_due_reports, settings)),
        Job("files of exports", IntervalTrigger(minutes=5, timezone=UTC), partial(clean_up, settings, storage_of(settings))),
    ]
