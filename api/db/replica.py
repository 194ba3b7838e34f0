"""Reads of a server process from a streaming replica, if it has the required data; else from the primary.

A read is as of a published batch. The replica may answer it if it has replayed the publication of that batch, and every erasure
that the primary knows. Whatever goes wrong on the replica, the primary answers: no request fails because of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests

from api.db.connection import conninfo
from api.db.pool import ConnectionPool, PoolConnection
from api.db.replica_state import ReplicaMonitor, ReplicaState, read_identity
from api.db.request_context import AS_OF
from api.db.sockets import shut_down
from api.errors import QueryTimeout
from api.settings import Settings

LOG = logging.getLogger(__name__)

# a request waits for a connection for so long before the primary answers
POOL_TIMEOUT_SECONDS = 1.0
# The replay of a build's DDL holds locks like the build itself, but for as long as the replay is paused.
LOCK_TIMEOUT_MS = "1000"
# after a connection failed, the replica gets no queries for so long
PAUSE_SECONDS = 1.0

# The replay had to remove what the query reads, or holds a lock that it needs. See the PostgreSQL manual, "Handling Query
# Conflicts" of hot standby.
CONFLICTS = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable)

# why the primary answered
BEHIND, UNREACHABLE, BUSY, CONFLICT, FAILED, LIVE = "behind", "unreachable", "busy", "conflict", "failed", "live"

T = TypeVar("T")


@dataclass(frozen=True)
class ReplicaReports:
    """Where a replica reports what it does: metrics, which are above this package.

    Attributes:
        count_read: called for each query of a request; with '' if the replica answered it, else with the reason why it did not.
        set_state: called after each look at the replica; with None if it cannot be used.
    """

    count_read: Callable[[str], None] = lambda _: None
    set_state: Callable[[ReplicaState | None], None] = lambda _: None


NO_REPORTS = ReplicaReports()


def replica_settings(settings: Settings) -> Settings:
    """The settings of connections to the replica.

    Raises:
        ValueError: no replica is configured.
    """
    if settings.read_database_url is None:
        raise ValueError("no replica is configured")
    return replace(
        settings,
        database_url=settings.read_database_url,
        database_url_variable="MAILMART_READ_DATABASE_URL",
        pool_timeout_seconds=POOL_TIMEOUT_SECONDS,
    )


class ReplicaPool(ConnectionPool):
    """Connections to the replica. An error is neither retried nor translated: the caller uses the primary."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(replica_settings(settings))
        self._begin.append(f"set local lock_timeout = {LOCK_TIMEOUT_MS}")
        self._config = (*self._config, ("lock_timeout", LOCK_TIMEOUT_MS))
        self._running: set[PoolConnection] = set()
        self._running_lock = threading.Lock()

    def end_running(self) -> None:
        """Ends the queries that run, with an OperationalError where they are waited for: the replica does not respond."""
        with self._running_lock:
            for connection in self._running:
                shut_down(connection.pgconn)

    def _execute_if_available(self, work: Callable[[PoolConnection], T]) -> T:
        with self._pool.connection() as connection:
            with self._running_lock:
                self._running.add(connection)
            try:
                return work(connection)
            finally:
                with self._running_lock:
                    self._running.discard(connection)


class Replica:
    """The replica of a server process."""

    def __init__(self, settings: Settings, primary: ConnectionPool, reports: ReplicaReports) -> None:
        self._pool = ReplicaPool(settings)
        self._reports = reports
        self._max_lag_seconds = settings.read_max_lag_seconds
        self._monitor = ReplicaMonitor(
            conninfo(replica_settings(settings), "mailmart_api"),
            self._pool.transaction_begin,
            settings.target,
            lambda: primary.execute(read_identity),
            self._note_state,
        )
        self._expected_at = 0.0
        self._revision = 0
        # the last publications of the primary, batch → time of the data: the newest one, and that which was served before
        self._published: dict[int, datetime] = {}
        self._newest = -1
        self._paused_until = 0.0

    def open(self) -> None:
        """Starts to connect, and does not wait."""
        self._pool.open()
        self._monitor.start()

    def close(self) -> None:
        """Closes all connections."""
        self._monitor.stop()
        self._pool.close()

    def expect(self, batch_id: int, data_as_of: datetime, revision: int) -> None:
        """Notes what the primary has published: the replica should have it soon, and may answer nothing that contradicts it."""
        self._revision = revision
        if batch_id != self._newest or self._published.get(batch_id) != data_as_of:
            before = {self._newest: self._published[self._newest]} if self._newest in self._published else {}
            self._published = {**before, batch_id: data_as_of}
            self._newest, self._expected_at = batch_id, time.monotonic()

    def awaits(self, batch_id: int) -> bool:
        """Whether the replica responds, and is expected to have the batch of the newest publication in a moment."""
        state = self._monitor.current()
        if state is None or state.batch_id is None or self.why_not(batch_id) != BEHIND:
            return False
        # only if it still has what was served before
        return not self.why_not(state.batch_id) and time.monotonic() - self._expected_at < self._max_lag_seconds

    def why_not(self, batch_id: int) -> str:
        """Why the replica cannot answer as of a batch; '' if it can."""
        state = self._monitor.current()
        if state is None or time.monotonic() < self._paused_until:
            return UNREACHABLE
        is_known = state.batch_id in self._published and self._published[state.batch_id] == state.data_as_of
        if not is_known or state.batch_id is None or state.batch_id < batch_id or state.revision != self._revision:
            return BEHIND
        return ""

    def query(self, settings: Mapping[str, str], statements: Sequence[str]) -> list[list[tuple[Any, ...]]] | None:
        """The rows of each statement (see ConnectionPool.query); None if the primary has to be used.

        Raises:
            QueryTimeout: a statement reached its time limit: it would on the primary, too.
        """
        reason = self.why_not(int(settings[AS_OF]))
        if not reason:
            try:
                rows = self._pool.query(settings, statements)
            except psycopg.errors.QueryCanceled as error:
                raise QueryTimeout from error
            except psycopg.Error as error:
                reason = self._reason(error)
            else:
                self._reports.count_read("")
                return rows
        self._reports.count_read(reason)
        return None

    def _reason(self, error: psycopg.Error) -> str:
        if isinstance(error, CONFLICTS):
            return CONFLICT
        if isinstance(error, PoolTimeout | TooManyRequests):
            # without any connection, each request would wait for one
            if self._pool.has_no_connection():
                self._paused_until = time.monotonic() + PAUSE_SECONDS
            return BUSY
        LOG.warning("a query failed on the replica, the primary answers: %s", str(error).strip())
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            return UNREACHABLE
        # of the request itself, in all likelihood: then the primary says the same
        return FAILED

    def _note_state(self, state: ReplicaState | None) -> None:
        if state is None:
            self._pool.end_running()
        self._reports.set_state(state)


class RoutedPool(ConnectionPool):
    """The connections of a server process. `query` reads from the replica, if one is configured and has the required data."""

    def __init__(self, settings: Settings, reports: ReplicaReports = NO_REPORTS) -> None:
        super().__init__(settings)
        self._reports = reports
        self.replica = Replica(settings, self, reports) if settings.read_database_url is not None else None

    def open(self) -> None:
        """Starts to connect, and does not wait.

        Raises:
            SettingsError: no database is configured.
        """
        super().open()
        if self.replica is not None:
            self.replica.open()

    def close(self) -> None:
        """Closes all connections."""
        if self.replica is not None:
            self.replica.close()
        super().close()

    def query(
        self, settings: Mapping[str, str], statements: Sequence[str], *, is_live: bool = False
    ) -> list[list[tuple[Any, ...]]]:
        """See ConnectionPool.query. The replica answers, if it can; else the primary."""
        if self.replica is not None:
            if is_live:
                self._reports.count_read(LIVE)
            elif (rows := self.replica.query(settings, statements)) is not None:
                return rows
        return super().query(settings, statements)
