"""Nightly and manual runs: reads and writes app.nightly_runs, except for status and metrics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import psycopg

from api.builds.repository import published_since
from api.db.clock import database_time

MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class NightlyRun:
    """A run that this process has claimed."""

    scheduled_for: datetime
    started_at: datetime
    attempts: int
    is_manual: bool = False


@dataclass(frozen=True)
class AbandonedRun:
    """A run whose process stopped or died and that nobody resumes: its last build, why it failed, how long it was open."""

    run: NightlyRun
    batch_id: int | None
    error: str
    seconds: float


class NightlyRunRepository:
    """The nightly runs of a target. Only a process that holds the lock of nightly runs (api/builds/nightly.py) may write.

    The connection has to be in autocommit mode: a change has to be there when the process is killed.
    """

    def __init__(self, connection: psycopg.Connection, target: str) -> None:
        self._connection = connection
        self._target = target

    def now(self) -> datetime:
        """The database's time. It decides what is due, so that schedulers with different or wrong clocks agree."""
        return database_time(self._connection)

    def is_open(self, due: datetime) -> bool:
        """Whether the run that is due has not ended yet: it is running, or has not begun and nothing was published since."""
        row = self._connection.execute(
            "select status = 'running' from app.nightly_runs where target = %s and scheduled_for = %s", (self._target, due)
        ).fetchone()
        if row is not None:
            return row == (True,)
        # any whole build that began since and was published has done the work of this run
        return published_since(self._connection, self._target, due) is None

    def fail_abandoned(self, *, except_due: datetime) -> list[AbandonedRun]:
        """Fails the abandoned runs, which no process resumes, and returns them, because their end was not reported yet.

        The run of `except_due` can be resumed, and stays open if it has attempts left.
        """
        rows = self._connection.execute(
            """
            update app.nightly_runs
            set
                status = 'failed',
                ended_at = clock_timestamp(),
                error = concat_ws(e'\\n', error, 'the process that ran it was stopped or died, and no other process resumed it')
            where
                target = %(target)s
                and status = 'running'
                and (scheduled_for <> %(except_due)s or attempts >= %(max_attempts)s)
            returning
                scheduled_for, started_at, attempts, is_manual,
                batch_id, error, extract(epoch from ended_at - started_at)::float as seconds
            """,
            {"target": self._target, "except_due": except_due, "max_attempts": MAX_ATTEMPTS},
        ).fetchall()
        return [AbandonedRun(NightlyRun(*row[:4]), *row[4:]) for row in rows]

    def claim(self, scheduled_for: datetime, *, is_manual: bool = False) -> NightlyRun:
        """Starts the run, or resumes it if its process died."""
        row = self._connection.execute(
            """
            insert into app.nightly_runs (target, scheduled_for, is_manual)
            values (%s, %s, %s)
            on conflict (target, scheduled_for) do update set status = 'running'
            returning started_at, attempts
            """,
            (self._target, scheduled_for, is_manual),
        ).fetchone()
        assert row is not None  # noqa: S101 - the statement always returns the row
        return NightlyRun(scheduled_for, row[0], row[1], is_manual)

    def start_attempt(self, run: NightlyRun) -> NightlyRun:
        """Counts an attempt before it begins, so that one that is killed counts as well."""
        return self._change_attempts(run, 1)

    def cancel_attempt(self, run: NightlyRun) -> NightlyRun:
        """Takes back an attempt that did not run to its end."""
        return self._change_attempts(run, -1)

    def record_attempt(self, run: NightlyRun, batch_id: int | None, error: str | None) -> None:
        """Records how an attempt ended. `batch_id`: its build, if it began one."""
        self._connection.execute(
            """
            update app.nightly_runs
            set batch_id = coalesce(%s, batch_id), error = %s
            where target = %s and scheduled_for = %s and attempts = %s and status = 'running'
            """,
            (batch_id, error, self._target, run.scheduled_for, run.attempts),
        )

    def end(self, run: NightlyRun, status: str) -> None:
        """Ends the run as succeeded or failed."""
        self._connection.execute(
            """
            update app.nightly_runs
            set status = %s, ended_at = clock_timestamp()
            where target = %s and scheduled_for = %s and attempts = %s and status = 'running'
            """,
            (status, self._target, run.scheduled_for, run.attempts),
        )

    def _change_attempts(self, run: NightlyRun, change: int) -> NightlyRun:
        # nothing changes if another process has resumed the run
        self._connection.execute(
            """
            update app.nightly_runs
            set attempts = attempts + %s
            where target = %s and scheduled_for = %s and attempts = %s and status = 'running'
            """,
            (change, self._target, run.scheduled_for, run.attempts),
        )
        return replace(run, attempts=run.attempts + change)
