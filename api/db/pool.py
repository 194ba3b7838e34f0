"""The API's connections to PostgreSQL: a bounded pool, and one round trip a request."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg.types.numeric import FloatLoader
from psycopg_pool import ConnectionPool as PsycopgPool
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from api.db.connection import conninfo
from api.errors import QueryTimeout, WarehouseUnavailable
from api.settings import Settings

LOG = logging.getLogger(__name__)
AWAY = "The analytics database does not answer; try again in a moment."

SECONDS_UNTIL_TRIED_AGAIN = 1.0
# the pool's own waits double: after a long outage it would not see for minutes that the database is back; we ask it again
SECONDS_TO_RECONNECT = 2.0

T = TypeVar("T")


class ConnectionPool:
    """Asks the database as the API's role. Made in the process that serves, after any fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: PsycopgPool | None = None
        self._answered_at = 0.0
        self._try_again_at = 0.0
        self._finding_out = threading.Lock()
        self.is_unavailable = False

    @property
    def _pool(self) -> PsycopgPool:
        if self._opened is None:
            raise WarehouseUnavailable(AWAY)
        return self._opened

    def open(self) -> None:
        """Starts to connect; does not wait for it, so that a server can come up before its database.

        Raises:
            SettingsError: no database is configured.
        """
        options = f"-c statement_timeout={self._settings.query_timeout_seconds * 1000}"
        self._opened = PsycopgPool(
            conninfo(self._settings, "mailmart_api", options=options),
            min_size=1,
            max_size=self._settings.pool_size,
            timeout=self._settings.pool_timeout_seconds,
            max_waiting=self._settings.pool_size * 8,
            reconnect_timeout=SECONDS_TO_RECONNECT,
            # a plan_export statement without parameters keeps the plan of the first tenant
            kwargs={"autocommit": True, "prepare_threshold": None, "connect_timeout": 5},
            configure=_read_numbers_as_json_has_them,
            open=False,
        )
        self._opened.open(wait=False)

    def close(self) -> None:
        """Gives the connections back."""
        if self._opened is not None:
            self._opened.close()

    def execute(self, work: Callable[[psycopg.Connection], T]) -> T:
        """Runs work, and once more on a new connection if the first one turns out to have died.

        It may have died after a commit: work that writes has to come to the same when it is done twice.

        While the database is away, one request at a time finds out whether it is back. If all waited, they would keep every
        thread of the process, and a health check would wait behind them.

        Raises:
            WarehouseUnavailable: there is no connection to be had.
            QueryTimeout: the server ended a statement that took too long.
        """
        if not self.is_unavailable:
            return self._run(work)
        if time.monotonic() < self._try_again_at or not self._finding_out.acquire(blocking=False):
            raise WarehouseUnavailable(AWAY)
        try:
            return self._run(work)
        finally:
            self._finding_out.release()

    def _run(self, work: Callable[[psycopg.Connection], T]) -> T:
        try:
            result = self._run_twice(work)
        except psycopg.errors.QueryCanceled as error:
            self._has_answered()
            raise QueryTimeout from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            # the request, not a program, is what failed: one line, and no trace of the driver's
            LOG.error("no connection: %s", error)  # noqa: TRY400
            now = time.monotonic()
            # connections that are only busy give answers meanwhile
            self.is_unavailable = now - self._answered_at >= self._settings.pool_timeout_seconds
            self._try_again_at = now + SECONDS_UNTIL_TRIED_AGAIN
            raise WarehouseUnavailable(AWAY) from error
        self._has_answered()
        return result

    def _has_answered(self) -> None:
        self._answered_at = time.monotonic()
        self.is_unavailable = False

    def _run_twice(self, work: Callable[[psycopg.Connection], T]) -> T:
        try:
            with self._pool.connection() as connection:
                return work(connection)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if isinstance(error, PoolTimeout | TooManyRequests | PoolClosed | psycopg.errors.QueryCanceled):
                raise
            LOG.warning("a connection died: %s", error)
            # whatever killed it killed the idle ones as well
            self._pool.check()
            with self._pool.connection() as connection:
                return work(connection)

    def query(self, settings: Mapping[str, str], statements: Sequence[str]) -> list[list[tuple[Any, ...]]]:
        """The rows of each statement, in one read-only transaction, in which the settings hold.

        Everything goes out in one message and comes back in one. SET LOCAL with literals, and not set_config(): on Citus only
        that reaches the workers.
        """

        def work(connection: psycopg.Connection) -> list[list[tuple[Any, ...]]]:
            texts = ["begin read only"]
            texts += [f"set local {name} = {self.literal(connection, value)}" for name, value in settings.items()]
            texts += [*statements, "commit"]
            try:
                cursor = connection.execute("; ".join(texts).encode())
                found = []
                while True:
                    if cursor.description is not None:
                        found.append(cursor.fetchall())
                    if not cursor.nextset():
                        return found
            except psycopg.Error:
                if not connection.closed:
                    connection.rollback()
                raise

        return self.execute(work)

    @staticmethod
    def literal(connection: psycopg.Connection, value: str) -> str:
        """A value as an SQL literal, by libpq's own escaping."""
        return psycopg.pq.Escaping(connection.pgconn).escape_literal(value.encode()).decode()


def _read_numbers_as_json_has_them(connection: psycopg.Connection) -> None:
    connection.adapters.register_loader("numeric", FloatLoader)
