"""Continuous builds (MAILMART_BUILD_EVERY): new data are built and published at an interval, in addition to the nightly run.

A turn asks the database whether anything is new. If so, dbt builds the models that hold rows and runs their data tests, which
read what is new; views and seeds are those of the published build. If the project has changed since, it is a whole build.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from api.builds.continuous_repository import ContinuousBuildRepository
from api.builds.dbt_attempt import BUILD, AttemptResult, read_result
from api.builds.events import report_continuous_failure
from api.builds.slow_payloads import exclude_slow_payloads, needs_search
from api.db.advisory_lock import AdvisoryLock, WhileHeld
from api.db.connection import connect
from api.dbt.build_process import WHOLE_BUILD_IS_NEEDED
from api.dbt.warm_process import WarmDbt
from api.settings import Settings

LOG = logging.getLogger(__name__)
# The nodes of macro is_built_continuously(). dbt adds the data tests of what is selected.
SELECTION = tuple(f"config.materialized:{name}" for name in ("incremental", "table", "materialized_view", "snapshot"))
# nobody reads the log file or the artifacts of such a build: what dbt says is read here, and the rest is in the database
QUIET = ("--no-use-colors", "--quiet", "--log-level-file", "none", "--no-write-json")
CONTINUOUS_BUILD = (*QUIET, "build", "--exclude-resource-type", "unit_test", "--select", *SELECTION)
WHOLE_BUILD = (*QUIET, *BUILD)
CONTINUOUS = {"MAILMART_DBT_CONTINUOUS": "1"}
MAX_DELAY_SECONDS = 3600.0
# how soon it is seen that a nightly run has ended, or that another build was published after a failure
SECONDS_WHILE_BUSY = 10.0
# looking for news reads the app's tables: who locks one for longer lets the turn begin again
LOCK_TIMEOUT = "-c lock_timeout=15s"


@dataclass(frozen=True)
class Turn:
    """What a turn did, the seconds until the next one, and those of its build."""

    outcome: str
    delay: float
    seconds: float = 0.0


def run_continuous_builds(settings: Settings, stopping: threading.Event, on_turn: Callable[[Turn], None] | None = None) -> None:
    """Takes turns until `stopping` is set. Returns at once if another process takes them, or if they are off.

    Whatever ends the process, the next one goes on with what is new: the state is in the database. `on_turn` gets each turn.

    Raises:
        psycopg.OperationalError: the database is unavailable.
    """
    every = settings.build_every
    if every is None:
        with connect(settings, "mailmart_owner", autocommit=True) as connection:
            ContinuousBuildRepository(connection, settings.target).record_off()
        return
    folder = settings.home / "continuous" / settings.target
    with AdvisoryLock(settings, f"mailmart.continuous.{settings.target}") as lock, WarmDbt(settings, folder) as dbt:
        if not lock.acquire():
            return
        work = WhileHeld(lock, stopping)
        builder = _Builder(settings, lock, dbt, work, float(every))
        may_continue = work.should_continue(0)
        while may_continue:
            turn = builder.take_turn()
            if on_turn is not None:
                on_turn(turn)
            may_continue = work.wait(turn.delay)


def delay_after_failure(every: float, failures: int) -> float:
    """Seconds between the end of a turn that failed and the next one: twice as many each time, at most an hour."""
    return max(every, min(every * 2.0 ** min(failures, 30), MAX_DELAY_SECONDS))


class _Builder:
    def __init__(self, settings: Settings, lock: AdvisoryLock, dbt: WarmDbt, work: WhileHeld, every: float) -> None:
        self._settings = settings
        self._lock = lock
        self._dbt = dbt
        self._work = work
        self._every = every
        self._logged = ""

    def take_turn(self) -> Turn:
        started = time.monotonic()
        with self._connect() as connection:
            repository = ContinuousBuildRepository(connection, self._settings.target)
            before = repository.begin_turn(self._every)
            remaining = delay_after_failure(self._every, before.number) - before.seconds_since
            if before.number > 0 and remaining > 0:
                return Turn("retry_later", min(remaining, SECONDS_WHILE_BUSY))
            if repository.is_locked("nightly"):
                # between its attempts, too: a build in between would make the next attempt begin from the beginning
                return self._waiting("a nightly run is already running")
            news = repository.look_for_news()
            if news != "new":
                if news == "rolled_back":
                    self._log_once("waiting: a publication was rolled back, and `mailmart build` or the nightly run builds again")
                return Turn(news, self._every)
        result = self._build()
        if result.status == "stopped":
            return Turn("stopped", 0)
        if result.status == "busy":
            return self._waiting(result.error or "another build is running")
        seconds = time.monotonic() - started
        with self._connect() as connection:
            repository = ContinuousBuildRepository(connection, self._settings.target)
            if result.status == "failed":
                failures = repository.record_failure()
                delay = delay_after_failure(self._every, failures)
                report_continuous_failure(self._settings, result, failures, seconds, delay)
                self._exclude_slow_payloads(connection)
                return Turn("failed", min(delay, SECONDS_WHILE_BUSY), seconds)
            repository.record_success()
            self._logged = ""
            LOG.info("continuous build: batch %s is published", result.batch_id, extra={"fields": {"seconds": round(seconds, 1)}})
            # retention removes nothing while a build runs: it gets as much time as a build took
            pause = seconds if repository.is_locked("retention") else 0.0
        return Turn("published", max(pause, self._every - seconds, 0.0), seconds)

    def _should_continue(self) -> bool:
        return self._work.should_continue(0.1)

    def _connect(self) -> psycopg.Connection:
        return connect(self._settings, "mailmart_owner", autocommit=True, options=LOCK_TIMEOUT)

    def _build(self) -> AttemptResult:
        ended = self._dbt.run(CONTINUOUS_BUILD, CONTINUOUS, should_continue=self._should_continue)
        if ended.status == WHOLE_BUILD_IS_NEEDED:
            LOG.info("continuous build: a whole build, because nothing is published yet or the project has changed")
            ended = self._dbt.run(WHOLE_BUILD, {}, should_continue=self._should_continue)
        if ended.status is None:
            return AttemptResult("stopped")
        return read_result(self._settings, self._lock, ended, self._dbt.invocation_id)

    def _exclude_slow_payloads(self, connection: psycopg.Connection) -> None:
        if needs_search(connection, self._settings.target):
            # the next build then does without them
            exclude_slow_payloads(self._settings, should_continue=lambda: self._work.should_continue(0))

    def _waiting(self, reason: str) -> Turn:
        self._log_once(f"waiting: {reason}")
        return Turn("waiting", min(self._every, SECONDS_WHILE_BUSY))

    def _log_once(self, message: str) -> None:
        if message != self._logged:
            LOG.info("continuous build: %s", message)
        self._logged = message
