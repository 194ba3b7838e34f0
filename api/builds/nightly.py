"""The nightly run: one build a day for any number of schedulers, retried from where it failed; a missed run is caught up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from api.builds.dbt_attempt import AttemptResult, run_attempt
from api.builds.events import log_failed_attempt, report_run_ended
from api.builds.repository import published_since
from api.builds.run_repository import MAX_ATTEMPTS, AbandonedRun, NightlyRun, NightlyRunRepository
from api.builds.schedule import latest_due
from api.db.advisory_lock import AdvisoryLock, WhileHeld
from api.db.connection import connect
from api.errors import MailmartError
from api.settings import Settings

RETRY_DELAYS_SECONDS = (30.0, 120.0)
BUSY_DELAY_SECONDS = 30.0
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """How many seconds a run waits: before the second and the third attempt, and while another build is running."""

    between_attempts: Sequence[float] = RETRY_DELAYS_SECONDS
    while_busy: float = BUSY_DELAY_SECONDS


RETRY_POLICY = RetryPolicy()


def nightly_lock(settings: Settings) -> AdvisoryLock:
    """The lock of the process that executes nightly runs. If nobody holds it, a run that is `running` has lost its process."""
    return AdvisoryLock(settings, f"mailmart.nightly.{settings.target}")


def run_due_nightly_run(settings: Settings, stopping: threading.Event, policy: RetryPolicy = RETRY_POLICY) -> None:
    """Runs the nightly run that was due last, unless it is done. This catches up the latest missed run, not the ones before it.

    Returns at once if there is nothing to do, or another process is running it. When `stopping` is set, or the lock's connection
    dies, dbt is stopped and the run is left open: the next call, of any process, resumes it.
    """
    with connect(settings, "mailmart_worker") as connection:
        runs = NightlyRunRepository(connection, settings.target)
        if not runs.is_open(latest_due(runs.now(), settings.nightly_at)):
            return
    with nightly_lock(settings) as lock:
        if not lock.acquire():
            return
        runs = NightlyRunRepository(lock.connection, settings.target)
        due = latest_due(runs.now(), settings.nightly_at)
        _report_abandoned(settings, lock.connection, runs.fail_abandoned(except_due=due))
        # it may have been done between the first look and the lock
        if runs.is_open(due):
            _Runner(settings, lock, stopping, policy).run(runs.claim(due))


def run_manually(
    settings: Settings, stopping: threading.Event, show: Callable[[str], None], policy: RetryPolicy = RETRY_POLICY
) -> bool:
    """Makes a run now, whether one is due or not, and returns whether it was published. `show` gets each line of output.

    Raises:
        MailmartError: a nightly run, or another build, is running.
    """
    with nightly_lock(settings) as lock:
        if not lock.acquire():
            raise MailmartError(
                "a nightly run is already running",
                hint="`mailmart batch status` shows it and the session with the lock mailmart.nightly. Wait until it ends.",
            )
        runs = NightlyRunRepository(lock.connection, settings.target)
        # with its microseconds: two runs of the same second are two runs
        now = runs.now()
        # do not fail the run that is due now: a scheduler will resume it
        abandoned = runs.fail_abandoned(except_due=latest_due(now, settings.nightly_at))
        _report_abandoned(settings, lock.connection, abandoned)
        run = runs.claim(now, is_manual=True)
        return _Runner(settings, lock, stopping, policy, show).run(run) == "succeeded"


class _Runner:
    """Makes the attempts of a claimed run. All of its statements go through the connection that holds the lock."""

    def __init__(
        self,
        settings: Settings,
        lock: AdvisoryLock,
        stopping: threading.Event,
        policy: RetryPolicy,
        show: Callable[[str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._lock = lock
        self._work = WhileHeld(lock, stopping)
        self._policy = policy
        self._show = show
        self._started = time.monotonic()

    @property
    def _runs(self) -> NightlyRunRepository:
        # not kept: an attempt may have acquired the lock anew, on another connection
        return NightlyRunRepository(self._lock.connection, self._settings.target)

    def run(self, run: NightlyRun) -> str:
        """Makes attempts until a build is published or three have failed. Returns succeeded, failed or stopped."""
        batch_id = None if run.is_manual else published_since(self._lock.connection, self._settings.target, run.scheduled_for)
        if batch_id is not None:
            # the process that began this run died after its build was published, or somebody else has built since
            self._runs.record_attempt(run, batch_id, None)
            return self._end(run, AttemptResult("published", batch_id))
        result = AttemptResult("failed")
        while run.attempts < MAX_ATTEMPTS:
            run = self._runs.start_attempt(run)
            LOG.info("nightly run: attempt %d", run.attempts, extra={"fields": {"scheduled_for": run.scheduled_for}})
            result = run_attempt(
                self._settings, self._lock, since=run.started_at, should_continue=self._work.should_continue, show=self._show
            )
            if result.status == "stopped":
                return self._leave(run, is_in_attempt=True)
            if result.status == "busy":
                run = self._runs.cancel_attempt(run)
                if not self._wait_for_other_build(run, result):
                    return self._leave(run)
                continue
            self._runs.record_attempt(run, result.batch_id, result.error)
            if result.status == "published":
                break
            log_failed_attempt(run, result)
            if run.attempts < MAX_ATTEMPTS and not self._wait_for_next_attempt(run):
                return self._leave(run)
        return self._end(run, result)

    def _end(self, run: NightlyRun, result: AttemptResult) -> str:
        status = "succeeded" if result.status == "published" else "failed"
        self._runs.end(run, status)
        seconds = time.monotonic() - self._started
        report_run_ended(self._settings, self._lock.connection, run, result, status, seconds)
        return status

    def _wait_for_other_build(self, run: NightlyRun, result: AttemptResult) -> bool:
        error = result.error or "another build is running"
        if run.is_manual:
            self._runs.record_attempt(run, None, error)
            self._runs.end(run, "failed")
            raise MailmartError(error, hint="Wait for it to end, and run again.")
        LOG.info("nightly run: waiting, %s", error)
        return self._work.wait(self._policy.while_busy)

    def _wait_for_next_attempt(self, run: NightlyRun) -> bool:
        seconds = self._policy.between_attempts[run.attempts - 1]
        if self._show is not None:
            self._show(f"attempt {run.attempts} of {MAX_ATTEMPTS} failed; the next one starts in {seconds:g} s")
        return self._work.wait(seconds)

    def _leave(self, run: NightlyRun, *, is_in_attempt: bool = False) -> str:
        """Leaves the run to the next process; fails a manual run, because nobody resumes it.

        An attempt that was stopped on request does not count. One that lost the database counts: a build that crashes the
        database would otherwise be started for ever.
        """
        LOG.warning("nightly run: stopped in attempt %d; another scheduler continues it", run.attempts)
        if not self._lock.wait_while_held(0):
            return "stopped"
        if run.is_manual:
            self._runs.record_attempt(run, None, "it was stopped")
            self._runs.end(run, "failed")
        elif is_in_attempt:
            self._runs.cancel_attempt(run)
        return "stopped"


def _report_abandoned(settings: Settings, connection: psycopg.Connection, abandoned_runs: list[AbandonedRun]) -> None:
    for abandoned in abandoned_runs:
        result = AttemptResult("failed", abandoned.batch_id, abandoned.error)
        report_run_ended(settings, connection, abandoned.run, result, "failed", abandoned.seconds)
