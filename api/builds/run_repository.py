"""The books of the nightly runs, app.nightly_runs: every read and write but status and figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import psycopg

from api.db.connection import connect
from api.settings import Settings

MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class NightlyRun:
    """A run that is ours: who holds the lock of nightly runs writes to it."""

    scheduled_for: datetime
    started_at: datetime
    attempts: int
    is_manual: bool = False


@dataclass(frozen=True)
class Dead:
    """A run that was left, and is over: its last build that took a number, why it failed, how long it was open."""

    night: NightlyRun
    batch_id: int | None
    error: str
    seconds: float


class NightlyRunRepository:
    """Nightly runs of the settings' target. To write, hold the lock of nightly runs (api/builds/nightly.py)."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._target = settings.target

    def now(self) -> datetime:
        """The database's time, by which nights are due: of schedulers whose clocks differ, and of one whose clock is wrong."""
        with self._connection() as connection:
            row = connection.execute("select clock_timestamp()").fetchone()
        assert row is not None  # noqa: S101 - it is one row in any case
        moment: datetime = row[0]
        return moment

    def is_open(self, due: datetime) -> bool:
        """Whether the night that was due still has to be run, or gone on with: no run of it ended, nothing newer is published."""
        with self._connection() as connection:
            row = connection.execute(
                """
                select coalesce(
                    (
                        select status = 'running' from app.nightly_runs
                        where target = %(target)s and scheduled_for = %(due)s
                    ),
                    -- a build of somebody's that was published since has done what the night would have
                    not exists (select from app.publications where target = %(target)s and data_as_of >= %(due)s)
                )
                """,
                {"target": self._target, "due": due},
            ).fetchone()
        return row == (True,)

    def fail_abandoned(self, *, but: datetime) -> list[Dead]:
        """Ends the runs that were left and that nobody takes up: all but the night given, and that one after its last try.

        Gives them, for whoever waits to hear of their end: who ran them is not there to tell.
        """
        with self._connection() as connection:
            rows = connection.execute(
                """
                update app.nightly_runs
                set
                    status = 'failed',
                    ended_at = clock_timestamp(),
                    error = concat_ws(e'\\n', error, 'the process that ran it was stopped or died, and nobody went on')
                where target = %(target)s and status = 'running' and (scheduled_for <> %(but)s or attempts >= %(attempts)s)
                returning
                    scheduled_for, started_at, attempts, is_manual,
                    batch_id, error, extract(epoch from ended_at - started_at)::float as seconds
                """,
                {"target": self._target, "but": but, "attempts": MAX_ATTEMPTS},
            ).fetchall()
        return [Dead(NightlyRun(*row[:4]), *row[4:]) for row in rows]

    def claim(self, scheduled_for: datetime, *, is_manual: bool = False) -> NightlyRun:
        """Begins the run, or goes on with the one whose process died."""
        with self._connection() as connection:
            row = connection.execute(
                """
                insert into app.nightly_runs (target, scheduled_for, is_manual)
                values (%s, %s, %s)
                on conflict (target, scheduled_for) do update set status = 'running'
                returning started_at, attempts
                """,
                (self._target, scheduled_for, is_manual),
            ).fetchone()
        assert row is not None  # noqa: S101 - it returns the row in any case
        return NightlyRun(scheduled_for, row[0], row[1], is_manual)

    def count_attempt(self, night: NightlyRun, change: int = 1) -> NightlyRun:
        """One more try, before it begins, so that one that is killed counts; or one less, of one that came to no end.

        Nothing changes once somebody else has gone on with the night.
        """
        with self._connection() as connection:
            connection.execute(
                "update app.nightly_runs set attempts = attempts + %s"
                " where target = %s and scheduled_for = %s and attempts = %s and status = 'running'",
                (change, self._target, night.scheduled_for, night.attempts),
            )
        return replace(night, attempts=night.attempts + change)

    def record_attempt(self, night: NightlyRun, batch_id: int | None, error: str | None) -> None:
        """How a try ended."""
        with self._connection() as connection:
            connection.execute(
                "update app.nightly_runs set batch_id = coalesce(%s, batch_id), error = %s"
                " where target = %s and scheduled_for = %s and attempts = %s and status = 'running'",
                (batch_id, error, self._target, night.scheduled_for, night.attempts),
            )

    def end(self, night: NightlyRun, status: str) -> None:
        """The run is over: succeeded or failed."""
        with self._connection() as connection:
            connection.execute(
                "update app.nightly_runs set status = %s, ended_at = clock_timestamp()"
                " where target = %s and scheduled_for = %s and attempts = %s and status = 'running'",
                (status, self._target, night.scheduled_for, night.attempts),
            )

    def _connection(self) -> psycopg.Connection:
        return connect(self._settings, "mailmart_worker")
