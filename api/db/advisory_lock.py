"""A lock that one process in the cluster holds, as long as its connection to PostgreSQL lives."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

import psycopg

from api.db.connection import connect
from api.settings import Settings

NAMES = (
    *("mailmart.nightly.{target}", "mailmart.continuous.{target}", "mailmart.scheduler.{target}"),
    *("mailmart.retention.{target}", "mailmart.migrate"),
)
SESSIONS = """
    select names.name, locks.pid, activity.usename, coalesce(nullif(activity.application_name, ''), 'unknown')
    from pg_catalog.pg_locks as locks
    inner join unnest(%(names)s::text[]) as names (name)
        on locks.classid::bigint << 32 | locks.objid::bigint = hashtextextended(names.name, 0) and locks.objsubid = 1
        -- the lock under which app.begin_batch() begins a build
        or names.name = 'mailmart.batches.' || %(target)s and locks.objsubid = 2
        and locks.classid::bigint = hashtext('mailmart.batches')::bigint & 4294967295
        and locks.objid::bigint = hashtext(%(target)s)::bigint & 4294967295
    inner join pg_catalog.pg_stat_activity as activity on locks.pid = activity.pid
    where
        locks.locktype = 'advisory'
        and locks.granted
        and locks.database = (select oid from pg_catalog.pg_database where datname = current_database())
    order by names.name, locks.pid
"""


@dataclass(frozen=True)
class AdvisoryLockSession:
    """A session that has one of mailmart's advisory locks: a process of mailmart, or whoever may connect to the database."""

    name: str
    pid: int
    login: str
    application: str

    def __str__(self) -> str:
        return f"{self.name}: pid {self.pid}, login {self.login}, application {self.application}"


def sessions_with_advisory_locks(connection: psycopg.Connection, target: str) -> list[AdvisoryLockSession]:
    """The sessions that have one of mailmart's advisory locks of a warehouse, by the lock's name."""
    names = [name.format(target=target) for name in (*NAMES, "mailmart.batches.{target}")]
    with connection.cursor() as cursor:
        rows = cursor.execute(SESSIONS.encode(), {"names": names, "target": target}).fetchall()
    return [AdvisoryLockSession(*row) for row in rows]


class AdvisoryLock:
    """A named, session-level advisory lock on its own connection; a `with` block releases it at its end."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._connection: psycopg.Connection | None = None

    def acquire(self) -> bool:
        """Tries to take the lock, without waiting. True if this process holds it now.

        Raises:
            SettingsError: no database is configured.
            SessionError: the session does not have the role.
            psycopg.OperationalError: the database is unavailable.
        """
        self.release()
        connection = connect(self._settings, "mailmart_worker", autocommit=True)
        row = connection.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", (self._name,)).fetchone()
        if row != (True,):
            connection.close()
            return False
        self._connection = connection
        return True

    @property
    def connection(self) -> psycopg.Connection:
        """The connection that holds the lock; each of its statements commits by itself.

        Raises:
            psycopg.OperationalError: the lock is not held.
        """
        if self._connection is None:
            raise psycopg.OperationalError(f"the lock {self._name} is not held")
        return self._connection

    def wait_while_held(self, seconds: float) -> bool:
        """Waits `seconds`. True if the lock is still held; returns False early if the connection, and so the lock, is lost."""
        if self._connection is None:
            return False
        try:
            for _ in self._connection.notifies(timeout=seconds):
                pass
        except psycopg.OperationalError:
            self.release()
            return False
        return True

    def release(self) -> None:
        """Releases the lock, and closes the connection."""
        if self._connection is not None:
            # a session ends some milliseconds after its connection, and whoever asks for the lock next would not get it
            with suppress(psycopg.Error):
                self._connection.execute("select pg_advisory_unlock_all()")
            self._connection.close()
            self._connection = None

    def __enter__(self) -> AdvisoryLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


class WhileHeld:
    """Work under a lock, which continues until it is stopped or the lock is lost."""

    def __init__(self, lock: AdvisoryLock, stopping: threading.Event) -> None:
        self._lock = lock
        self._stopping = stopping

    def should_continue(self, seconds: float = 0.1) -> bool:
        """Whether the work may go on after so many seconds; False as soon as it may not.

        A process that ends meanwhile is noticed that much later. Waiting costs no statement.
        """
        return not self._stopping.is_set() and self._lock.wait_while_held(seconds) and not self._stopping.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits, and returns whether the work may go on."""
        until = time.monotonic() + seconds
        while self.should_continue(min(0.5, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                return True
        return False
