"""The nightly run: a build, tried again from where it failed, of which there is one a night whatever number of schedulers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from api.builds.dbt_attempt import Attempt, attempt
from api.builds.events import tell_end, tell_try
from api.builds.run_repository import MAX_ATTEMPTS, Dead, NightlyRun, NightlyRunRepository
from api.builds.schedule import latest_due
from api.db.advisory_lock import AdvisoryLock
from api.errors import MailmartError
from api.settings import Settings

SECONDS_BETWEEN_TRIES = (30.0, 120.0)
SECONDS_UNTIL_ASKED_AGAIN = 30.0
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """How long a run waits: before the second and the third try, and for another build to end."""

    between_tries: Sequence[float] = SECONDS_BETWEEN_TRIES
    while_busy: float = SECONDS_UNTIL_ASKED_AGAIN


RETRY_POLICY = RetryPolicy()


def lock_of_runs(settings: Settings) -> AdvisoryLock:
    """Held by the process that runs; so a run that is noted as running, while nobody holds it, is of a process that died."""
    return AdvisoryLock(settings, f"mailmart.nightly.{settings.target}")


def run_due_night(settings: Settings, ending: threading.Event, pace: RetryPolicy = RETRY_POLICY) -> None:
    """Runs the night that was due last, if that is still to be done; of nights missed before it nothing is left to do.

    Returns at once when it is done, or somebody is at it. When `ending` is set, or the lock's connection dies, the build is ended
    and the night is left as it is: the next one who looks takes it up.
    """
    nights = NightlyRunRepository(settings)
    due = latest_due(nights.now(), settings.nightly_at)
    if not nights.is_open(due):
        return
    with lock_of_runs(settings) as lock:
        if not lock.acquire():
            return
        _tell_dead(settings, nights.fail_abandoned(but=due))
        # it may have been done between the first look and the lock
        if nights.is_open(due):
            _run(settings, nights, nights.claim(due), lock, ending, pace)


def run_by_hand(
    settings: Settings, ending: threading.Event, show: Callable[[str], None], pace: RetryPolicy = RETRY_POLICY
) -> bool:
    """Makes the nightly run now, whatever was or is due, and says whether it was published.

    Raises:
        MailmartError: a nightly run, or somebody's build, is going on.
    """
    with lock_of_runs(settings) as lock:
        if not lock.acquire():
            raise MailmartError("a nightly run is going on", hint="`mailmart batch status` shows it; wait for it to end.")
        nights = NightlyRunRepository(settings)
        now = nights.now().replace(microsecond=0)
        # a night that a killed scheduler left is the schedulers' to take up, and to count
        _tell_dead(settings, nights.fail_abandoned(but=latest_due(now, settings.nightly_at)))
        night = nights.claim(now, is_manual=True)
        return _run(settings, nights, night, lock, ending, pace, show) == "succeeded"


def _run(
    settings: Settings,
    nights: NightlyRunRepository,
    night: NightlyRun,
    lock: AdvisoryLock,
    ending: threading.Event,
    pace: RetryPolicy,
    show: Callable[[str], None] | None = None,
) -> str:
    """Tries until a build is published, or three have failed. Returns succeeded, failed or, where we were ended, ended."""

    def should_continue(seconds: float = 0.5) -> bool:
        return not ending.is_set() and lock.wait_while_held(seconds) and not ending.is_set()

    def rest(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while should_continue(min(0.5, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                return True
        return False

    began = time.monotonic()
    status = "failed"
    tried = Attempt("failed")
    while night.attempts < MAX_ATTEMPTS:
        night = nights.count_attempt(night)
        LOG.info("nightly run: try %d", night.attempts, extra={"fields": {"scheduled_for": night.scheduled_for}})
        tried = attempt(settings, since=night.started_at, should_continue=should_continue, show=show)
        if tried.status == "ended":
            return _leave(nights, night, lock, is_in_try=True)
        if tried.status == "busy":
            night = nights.count_attempt(night, -1)
            if night.is_manual:
                nights.record_attempt(night, None, tried.error)
                nights.end(night, "failed")
                raise MailmartError(tried.error or "another build is running", hint="Wait for it to end, and run again.")
            LOG.info("nightly run: waiting, %s", tried.error)
            if not rest(pace.while_busy):
                return _leave(nights, night, lock)
            continue
        nights.record_attempt(night, tried.batch_id, tried.error)
        if tried.status == "published":
            status = "succeeded"
            break
        tell_try(night, tried)
        if night.attempts < MAX_ATTEMPTS:
            seconds = pace.between_tries[night.attempts - 1]
            if show is not None:
                show(f"try {night.attempts} of {MAX_ATTEMPTS} failed; the next one in {seconds:g} s")
            if not rest(seconds):
                return _leave(nights, night, lock)
    nights.end(night, status)
    tell_end(settings, night, tried, status, time.monotonic() - began)
    return status


def _tell_dead(settings: Settings, found: Iterable[Dead]) -> None:
    for dead in found:
        tell_end(settings, dead.night, Attempt("failed", dead.batch_id, dead.error), "failed", dead.seconds)


def _leave(nights: NightlyRunRepository, night: NightlyRun, lock: AdvisoryLock, *, is_in_try: bool = False) -> str:
    """We were told to end, or lost the lock: whoever comes next goes on; a run by hand has nobody who does.

    A try that was ended for us is handed back. One that lost the database is not: a build that brings it down would for ever.
    """
    LOG.warning("nightly run: left in try %d", night.attempts)
    if not lock.wait_while_held(0):
        return "ended"
    if night.is_manual:
        nights.record_attempt(night, None, "it was stopped")
        nights.end(night, "failed")
    elif is_in_try:
        nights.count_attempt(night, -1)
    return "ended"
