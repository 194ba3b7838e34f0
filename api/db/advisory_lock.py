"""A lock that one process of all holds, for as long as its connection to PostgreSQL lives."""

from __future__ import annotations

from types import TracebackType

import psycopg

from api.db.connection import conninfo
from api.settings import Settings


class AdvisoryLock:
    """A session-level advisory lock, named, on a connection of its own, which the block gives back."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._connection: psycopg.Connection | None = None

    def acquire(self) -> bool:
        """Takes the lock unless somebody has it, and says whether it is ours now.

        Raises:
            SettingsError: no database is configured.
            psycopg.OperationalError: the database is away.
        """
        self.release()
        connection = psycopg.connect(conninfo(self._settings, "mailmart_worker"), autocommit=True, connect_timeout=10)
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
        """Waits, and says whether the lock is still ours; returns early when the connection dies, because then it is not."""
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
        """Ends the connection, and the lock with it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> AdvisoryLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()
