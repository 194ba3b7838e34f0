"""The state of continuous builds: reads and writes app.continuous_builds, and asks what there is to build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import psycopg

from api.db.advisory_lock import sessions_with_advisory_locks

News = Literal["new", "nothing", "rolled_back"]


@dataclass(frozen=True)
class Failures:
    """Turns that failed since the last publication, and the seconds since the last one failed."""

    number: int
    seconds_since: float


class ContinuousBuildRepository:
    """The continuous builds of a target. Only the process that holds the lock mailmart.continuous.<target> may write.

    The connection is the owner's, in autocommit mode.
    """

    def __init__(self, connection: psycopg.Connection, target: str) -> None:
        self._connection = connection
        self._target = target

    def record_off(self) -> None:
        """Records that continuous builds are off: data are late as if they never had been on."""
        self._connection.execute(
            "update app.continuous_builds set every_seconds = null where target = %s and every_seconds is not null",
            (self._target,),
        )

    def begin_turn(self, every: float) -> Failures:
        """Records that a turn begins, and returns what failed before. A publication since, of any build, ends that.

        `every` is how often there are turns, in seconds: it decides when data are late.
        """
        row = self._connection.execute(
            """
            insert into app.continuous_builds as builds (target, every_seconds) values (%(target)s, %(every)s)
            on conflict (target) do update
            set
                checked_at = excluded.checked_at,
                every_seconds = excluded.every_seconds,
                failures = case
                    when builds.failed_at > coalesce(
                        (select changed_at from app.current_publication where target = %(target)s), '-infinity'
                    ) then builds.failures
                    else 0
                end,
                -- the clock was set back since: without this, nothing would be built until it is that late again
                failed_at = case when builds.failed_at > excluded.checked_at then excluded.checked_at else builds.failed_at end
            returning failures, coalesce(extract(epoch from clock_timestamp() - failed_at), 0)::float
            """,
            {"target": self._target, "every": max(round(every), 1)},
        ).fetchone()
        assert row is not None  # noqa: S101 - the statement always returns the row
        return Failures(*row)

    def look_for_news(self) -> News:
        """What there is to build; if nothing, the publication is noted to be current. See app.look_for_news()."""
        row = self._connection.execute("select app.look_for_news(%s)", (self._target,)).fetchone()
        assert row is not None  # noqa: S101 - the query always returns a row
        news: News = row[0]
        return news

    def record_failure(self) -> int:
        """Counts a turn that failed, and returns how many in a row did."""
        row = self._connection.execute(
            "update app.continuous_builds set failures = failures + 1, failed_at = clock_timestamp()"
            " where target = %s returning failures",
            (self._target,),
        ).fetchone()
        assert row is not None  # noqa: S101 - begin_turn() has inserted it
        return int(row[0])

    def record_success(self) -> None:
        """Ends a series of failures."""
        self._connection.execute("update app.continuous_builds set failures = 0 where target = %s", (self._target,))

    def is_locked(self, name: str) -> bool:
        """Whether a process holds mailmart's advisory lock of that name, for example `nightly`."""
        sessions = sessions_with_advisory_locks(self._connection, self._target)
        return any(session.name == f"mailmart.{name}.{self._target}" for session in sessions)
