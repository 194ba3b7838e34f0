"""Connections to PostgreSQL of a process that serves HTTP: a bounded pool, and one round trip for each request.

A request's statements are prepared and sent as a pipeline (db/prepared_statements.py). Where that is not possible, the whole
transaction is one message of the simple protocol: behind a pooler in transaction mode that does not follow prepared
statements, and with an old libpq. Citus takes no such message: there it is a pipeline of statements (db/citus_transactions.py).
"""

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

from api.db.citus_transactions import CitusTransactions, NodeUnavailable, has_citus
from api.db.connection import conninfo
from api.db.iso_dates import read_iso_dates
from api.db.loop_socket import LoopSocket
from api.db.prepared_statements import PreparedStatements, Rows, Statement, is_supported
from api.db.request_context import AS_OF, set_config_query, set_local_statements
from api.db.session import Role, check_transaction, transaction_config, transaction_settings
from api.db.text_rows import TextQuery, rows_of, text_transformer
from api.errors import QueryTimeout, SessionError, WarehouseUnavailable
from api.settings import Settings

LOG = logging.getLogger(__name__)
DATABASE_UNAVAILABLE = "The analytics database is unavailable; try again in a moment."

# during an outage, the database is tried once in so many seconds
RETRY_INTERVAL_SECONDS = 1.0
# psycopg's pool doubles its waits: after a long outage it would notice minutes late that the database is back
MAX_RECONNECT_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 5
# after a pooler did not follow statements, a new connection tries again: at most one request in so many seconds costs twice
PREPARE_AGAIN_SECONDS = 60.0
# for a connection that was idle a moment ago
TAKE_SECONDS = 0.001

# the session of the server is another one than before
NOT_FOLLOWED = (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement)

T = TypeVar("T")


class PoolConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection of the pool.

    Attributes:
        statements: those that it has prepared; None if it prepares none.
        attempt: the pool's when it was made.
        loop_socket: as long as an event loop has it.
        loop_period: of the loop when it took the connection (db/loop_queries.py).
        citus: what runs its transactions if the database has the extension citus.
    """

    statements: PreparedStatements | None = None
    attempt: int = 0
    loop_socket: LoopSocket | None = None
    loop_period: int = 0
    citus: CitusTransactions | None = None

    def close(self) -> None:
        """Closes it; before that, no event loop watches its descriptor any longer."""
        self.stop_watching()
        super().close()

    def stop_watching(self) -> None:
        """Ends what `loop_socket` does."""
        socket, self.loop_socket = self.loop_socket, None
        if socket is not None:
            socket.stop()


class ConnectionPool:
    """Connections under one role. Create it in the process that serves, after any fork."""

    def __init__(self, settings: Settings, role: Role = "mailmart_api") -> None:
        self._settings = settings
        self._role = role
        self._psycopg_pool: PsycopgPool[PoolConnection] | None = None
        self._last_success_at = 0.0
        self._retry_at = 0.0
        self._retry_lock = threading.Lock()
        self._prepare_lock = threading.Lock()
        self._begin = transaction_settings(role, statement_timeout_seconds=settings.query_timeout_seconds)
        config = transaction_config(role, statement_timeout_seconds=settings.query_timeout_seconds)
        # the role first: the server checks it before anything else happens
        self._config = (*config.items(), ("transaction_read_only", "on"))
        # whether statements are prepared; each time that a pooler did not follow them, another attempt begins later
        self._prepares = is_supported()
        self._prepare_attempt = 0
        self._prepare_again_at = 0.0
        self._logged_error = ""
        self.is_unavailable = False
        self._citus = CitusTransactions(self._begin)
        # called by a thread that finds no connection idle; an event loop may keep some
        self.on_shortage: Callable[[], object] | None = None

    @property
    def transaction_begin(self) -> Sequence[str]:
        """The statements that begin a transaction under the role."""
        return self._begin

    def has_no_connection(self) -> bool:
        """Whether the server let no connection of this pool be made, or closed all of them."""
        return self._pool.get_stats().get("pool_size", 0) == 0

    @property
    def _pool(self) -> PsycopgPool[PoolConnection]:
        if self._psycopg_pool is None:
            raise WarehouseUnavailable(DATABASE_UNAVAILABLE)
        return self._psycopg_pool

    def open(self) -> None:
        """Starts to connect, and does not wait: a server can start before its database.

        Raises:
            SettingsError: no database is configured.
        """
        self._psycopg_pool = PsycopgPool(
            conninfo(self._settings, self._role),
            connection_class=PoolConnection,
            min_size=1,
            max_size=self._settings.pool_size,
            timeout=self._settings.pool_timeout_seconds,
            max_waiting=self._settings.pool_size * 8,
            reconnect_timeout=MAX_RECONNECT_SECONDS,
            # only `query` prepares: psycopg's own statements would be those of one session of the server
            kwargs={"autocommit": True, "prepare_threshold": None, "connect_timeout": CONNECT_TIMEOUT_SECONDS},
            configure=self._configure,
            open=False,
        )
        self._psycopg_pool.open(wait=False)

    def close(self) -> None:
        """Closes all connections."""
        if self._psycopg_pool is not None:
            self._psycopg_pool.close()

    def execute(self, work: Callable[[psycopg.Connection], T]) -> T:
        """Runs work in one transaction; if its connection was lost, once more on a new one.

        The connection may be lost after a commit: work that writes has to be idempotent.

        During an outage, one request at a time tries the database and the others fail at once. If all of them waited, they would
        block every thread of the process, and health checks with them.

        Raises:
            WarehouseUnavailable: no connection is available.
            QueryTimeout: the server canceled a statement at its time limit.
        """
        return self._execute_if_available(lambda connection: self._in_transaction(connection, work))

    def _execute_if_available(self, work: Callable[[PoolConnection], T]) -> T:
        if not self.is_unavailable:
            return self._execute(work)
        if time.monotonic() < self._retry_at or not self._retry_lock.acquire(blocking=False):
            raise WarehouseUnavailable(DATABASE_UNAVAILABLE)
        try:
            return self._execute(work)
        finally:
            self._retry_lock.release()

    def _execute(self, work: Callable[[PoolConnection], T]) -> T:
        try:
            result = self._execute_with_retry(work)
        except psycopg.errors.QueryCanceled as error:
            self._mark_available()
            raise QueryTimeout from error
        except NodeUnavailable as error:
            # the others answer
            LOG.error("a node of the Citus cluster is unavailable: %s", error)  # noqa: TRY400
            self._mark_available()
            raise WarehouseUnavailable(DATABASE_UNAVAILABLE) from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            # an outage is no bug of ours: one line, without a trace
            LOG.error("database unavailable: %s", error)  # noqa: TRY400
            now = time.monotonic()
            # if other connections succeed, the pool is only busy
            self.is_unavailable = now - self._last_success_at >= self._settings.pool_timeout_seconds
            self._retry_at = now + RETRY_INTERVAL_SECONDS
            raise WarehouseUnavailable(DATABASE_UNAVAILABLE) from error
        self._mark_available()
        return result

    def _mark_available(self) -> None:
        self._last_success_at = time.monotonic()
        self.is_unavailable = False

    def _execute_with_retry(self, work: Callable[[PoolConnection], T]) -> T:
        if self.on_shortage is not None and not self.has_idle():
            self.on_shortage()
        try:
            with self._pool.connection() as connection:
                return _run(connection, work)
        except NodeUnavailable:
            # the coordinator notices late that a node was restarted
            with self._pool.connection() as connection:
                return _run(connection, work)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if isinstance(error, PoolTimeout | TooManyRequests | PoolClosed | psycopg.errors.QueryCanceled):
                raise
            LOG.warning("connection lost, retrying once: %s", error)
            # the idle connections are probably lost too
            self._pool.check()
            with self._pool.connection() as connection:
                return work(connection)

    def _in_transaction(self, connection: psycopg.Connection, work: Callable[[psycopg.Connection], T]) -> T:
        with connection.transaction():
            connection.execute("; ".join(self._begin).encode())
            return work(connection)

    def _configure(self, connection: PoolConnection) -> None:
        # as JSON has numbers
        connection.adapters.register_loader("numeric", FloatLoader)
        read_iso_dates(connection)
        try:
            check_transaction(connection, self._begin, self._role)
        except SessionError as error:
            # the pool retries: one line for each error
            if error.message != self._logged_error:
                self._logged_error = error.message
                LOG.error("all requests fail: %s. %s", error.message, error.hint)  # noqa: TRY400
            raise
        self._logged_error = ""
        if has_citus(connection):
            connection.citus = self._citus
        elif self._should_prepare():
            connection.statements = PreparedStatements(connection)
            connection.attempt = self._prepare_attempt

    def _should_prepare(self) -> bool:
        """Whether a new connection prepares. A pooler may be another one than when it did not follow statements."""
        with self._prepare_lock:
            if not self._prepares and is_supported() and time.monotonic() >= self._prepare_again_at:
                # the connections before do not: what they have prepared is in sessions that nobody knows
                self._prepare_attempt += 1
                self._prepares = True
            return self._prepares

    def _stop_preparing(self, error: psycopg.Error) -> None:
        with self._prepare_lock:
            self._prepares = False
            self._prepare_again_at = time.monotonic() + PREPARE_AGAIN_SECONDS
        LOG.warning(
            "statements are no longer prepared, and PostgreSQL plans each request again: %s."
            " A connection pooler in transaction mode needs PgBouncer 1.21 or later with max_prepared_statements."
            " New connections try again after a minute.",
            error,
        )

    def _statements_of(self, connection: PoolConnection) -> PreparedStatements | None:
        return connection.statements if self._prepares and connection.attempt == self._prepare_attempt else None

    def query(self, settings: Mapping[str, str], statements: Sequence[str], *, is_live: bool = False) -> list[Rows]:
        """The rows of each statement, read in one read-only transaction under the settings of a request context.

        The whole transaction is one round trip. The server keeps the plan of each statement: see db/prepared_statements.py for
        how a statement may read the settings.

        `is_live`: the statements read what is not of a batch, so only the primary has its present state (db/replica.py).

        Raises:
            WarehouseUnavailable, QueryTimeout: see `execute`.
            psycopg.Error: a statement failed.
        """

        def work(connection: PoolConnection) -> list[Rows]:
            if connection.citus is not None:
                return connection.citus.query(connection, settings, statements)
            prepared = self._statements_of(connection)
            if prepared is not None:
                try:
                    # a new publication can have other views, and other sizes of what they read
                    _, *rows = prepared.run(self._prepared(settings, statements), version=settings.get(AS_OF, ""))
                except NOT_FOLLOWED as error:
                    self._stop_preparing(error)
                except psycopg.errors.FeatureNotSupported:
                    # a view was replaced by one of the same name with columns of other types
                    prepared.close_all()
                else:
                    return rows
            return self._query_in_one_message(connection, settings, statements)

        return self._execute_if_available(work)

    def take_idle(self) -> PoolConnection | None:
        """An idle connection that prepares statements, for `query_on_loop`; None if no such one is idle. Does not wait."""
        if self._psycopg_pool is None or not self.has_idle():
            return None
        try:
            # a thread may have been faster
            connection = self._psycopg_pool.getconn(timeout=TAKE_SECONDS)
        except psycopg.OperationalError:
            return None
        if self._statements_of(connection) is None:
            self._psycopg_pool.putconn(connection)
            return None
        return connection

    def put_back(self, connection: PoolConnection) -> None:
        """Gives back a connection that was taken. One that is closed is replaced."""
        connection.stop_watching()
        self._pool.putconn(connection)

    def can_query_on_loop(self, connection: PoolConnection) -> bool:
        """Whether a connection that was taken is usable for the next query."""
        return not connection.closed and self._statements_of(connection) is not None

    def has_idle(self) -> bool:
        """Whether a connection is idle."""
        return self._pool.get_stats()["pool_available"] > 0

    def can_grow(self) -> bool:
        """Whether a request that waits for a connection makes the pool connect once more."""
        stats = self._pool.get_stats()
        return stats["pool_size"] < stats["pool_max"]

    async def query_on_loop(
        self, connection: PoolConnection, settings: Mapping[str, str], statements: Sequence[str]
    ) -> list[Rows] | None:
        """As `query`, on an event loop, with a connection of `take_idle`. None if `query` has to do it: it knows each error.

        Raises:
            QueryTimeout: see `execute`.
        """
        assert connection.statements is not None and connection.loop_socket is not None  # noqa: S101, PT018 - who took it looked
        try:
            _, *rows = await connection.statements.run_on_loop(
                self._prepared(settings, statements), settings.get(AS_OF, ""), connection.loop_socket
            )
        except psycopg.errors.QueryCanceled as error:
            self._mark_available()
            raise QueryTimeout from error
        except psycopg.Error:
            # it may have statements of other views, or another session of a pooler
            connection.close()
            return None
        self._mark_available()
        return rows

    def _prepared(self, settings: Mapping[str, str], statements: Sequence[str]) -> list[Statement]:
        set_config = Statement(set_config_query(self._config, tuple(settings)), tuple(settings.values()))
        return [set_config, *map(Statement, statements)]

    def _query_in_one_message(
        self, connection: psycopg.Connection, settings: Mapping[str, str], statements: Sequence[str]
    ) -> list[Rows]:
        texts = ["begin read only", *self._begin, *set_local_statements(connection, settings), *statements, "commit"]
        try:
            cursor = connection.execute("; ".join(texts).encode())
            results: list[Rows] = []
            while True:
                if cursor.description is not None and cursor.pgresult is not None:
                    # only these statements have rows
                    is_text = isinstance(statements[len(results)], TextQuery)
                    results.append(rows_of(text_transformer(connection), cursor.pgresult) if is_text else cursor.fetchall())
                if not cursor.nextset():
                    return results
        except psycopg.Error:
            if not connection.closed:
                connection.rollback()
            raise


def _run(connection: PoolConnection, work: Callable[[PoolConnection], T]) -> T:
    return work(connection) if connection.citus is None else connection.citus.run(connection, work)
