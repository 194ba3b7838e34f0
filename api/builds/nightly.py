"""The nightly run: a build, tried again from where it failed, of which there is one a night whatever number of schedulers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from api.builds.dbt_attempt import Attempt, attempt
from api.builds.events import tell_end, tell_try
from api.builds.run_repository import TRIES, Dead, Night, Nights
from api.builds.schedule import latest_due
from api.db.advisory_lock import SessionLock
from api.errors import MailmartError
from api.settings import Settings

SECONDS_BETWEEN_TRIES = (30.0, 120.0)
SECONDS_UNTIL_ASKED_AGAIN = 30.0
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How long a run waits: before the second and the third try, and for another build to end."""

    between_tries: Sequence[float] = SECONDS_BETWEEN_TRIES
    while_busy: float = SECONDS_UNTIL_ASKED_AGAIN


PACE = Pace()


def lock_of_runs(settings: Settings) -> SessionLock:
    """Held by the process that runs; so a run that is noted as running, while nobody holds it, is of a process that died."""
    return SessionLock(settings, f"mailmart.nightly.{settings.target}")


def run_due_night(settings: Settings, ending: threading.Event, pace: Pace = PACE) -> None:
    """Runs the night that was due last, if that is still to be done; of nights missed before it nothing is left to do.

    Returns at once when it is done, or somebody is at it. When `ending` is set, or the lock's connection dies, the build is ended
    and the night is left as it is: the next one who looks takes it up.
    """
    nights = Nights(settings)
    due = latest_due(nights.now(), settings.batch_at)
    if not nights.is_open(due):
        return
    with lock_of_runs(settings) as lock:
        if not lock.take():
            return
        _tell_dead(settings, nights.close_dead(but=due))
        # it may have been done between the first look and the lock
        if nights.is_open(due):
            _run(settings, nights, nights.take_up(due), lock, ending, pace)


def run_by_hand(settings: Settings, ending: threading.Event, show: Callable[[str], None], pace: Pace = PACE) -> bool:
    """Makes the nightly run now, whatever was or is due, and says whether it was published.

    Raises:
        MailmartError: a nightly run, or somebody's build, is going on.
    """
    with lock_of_runs(settings) as lock:
        if not lock.take():
            raise MailmartError("a nightly run is going on", hint="`mailmart batch status` shows it; wait for it to end.")
        nights = Nights(settings)
        now = nights.now().replace(microsecond=0)
        # a night that a killed scheduler left is the schedulers' to take up, and to count
        _tell_dead(settings, nights.close_dead(but=latest_due(now, settings.batch_at)))
        night = nights.take_up(now, is_by_hand=True)
        return _run(settings, nights, night, lock, ending, pace, show) == "succeeded"


def _run(
    settings: Settings,
    nights: Nights,
    night: Night,
    lock: SessionLock,
    ending: threading.Event,
    pace: Pace,
    show: Callable[[str], None] | None = None,
) -> str:
    """Tries until a build is published, or three have failed. Returns succeeded, failed or, where we were ended, ended."""

    def goes_on(seconds: float = 0.5) -> bool:
        return not ending.is_set() and lock.keep(seconds) and not ending.is_set()

    def rest(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while goes_on(min(0.5, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                return True
        return False

    began = time.monotonic()
    status = "failed"
    tried = Attempt("failed")
    while night.tries < TRIES:
        night = nights.count_try(night)
        LOG.info("nightly run: try %d", night.tries, extra={"fields": {"scheduled_for": night.scheduled_for}})
        tried = attempt(settings, since=night.started_at, goes_on=goes_on, show=show)
        if tried.status == "ended":
            return _leave(nights, night, lock, is_in_try=True)
        if tried.status == "busy":
            night = nights.count_try(night, -1)
            if night.is_by_hand:
                nights.note_try(night, None, tried.error)
                nights.end(night, "failed")
                raise MailmartError(tried.error or "another build is running", hint="Wait for it to end, and run again.")
            LOG.info("nightly run: waiting, %s", tried.error)
            if not rest(pace.while_busy):
                return _leave(nights, night, lock)
            continue
        nights.note_try(night, tried.batch_id, tried.error)
        if tried.status == "published":
            status = "succeeded"
            break
        tell_try(night, tried)
        if night.tries < TRIES:
            seconds = pace.between_tries[night.tries - 1]
            if show is not None:
                show(f"try {night.tries} of {TRIES} failed; the next one in {seconds:g} s")
            if not rest(seconds):
                return _leave(nights, night, lock)
    nights.end(night, status)
    tell_end(settings, night, tried, status, time.monotonic() - began)
    return status


def _tell_dead(settings: Settings, found: Iterable[Dead]) -> None:
    for dead in found:
        tell_end(settings, dead.night, Attempt("failed", dead.batch_id, dead.error), "failed", dead.seconds)


def _leave(nights: Nights, night: Night, lock: SessionLock, *, is_in_try: bool = False) -> str:
    """We were told to end, or lost the lock: whoever comes next goes on; a run by hand has nobody who does.

    A try that was ended for us is handed back. One that lost the database is not: a build that brings it down would for ever.
    """
    LOG.warning("nightly run: left in try %d", night.tries)
    if not lock.keep(0):
        return "ended"
    if night.is_by_hand:
        nights.note_try(night, None, "it was stopped")
        nights.end(night, "failed")
    elif is_in_try:
        nights.count_try(night, -1)
    return "ended"
