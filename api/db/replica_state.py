"""Watches a streaming replica: which publication it has replayed, its lag, and whether it responds.

A thread with an event loop of its own asks once a second. Each question has a time limit on our side, because a server that is
frozen, or behind a broken network, never answers and never closes the connection.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from api.db.sockets import shut_down
from api.errors import MailmartError

LOG = logging.getLogger(__name__)

CHECK_INTERVAL_SECONDS = 1.0
CHECK_TIMEOUT_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 2
# what is known of a replica holds for so long
STATE_TTL_SECONDS = CHECK_INTERVAL_SECONDS + CHECK_TIMEOUT_SECONDS

# The lag is 0 if everything that was received is replayed: without new transactions, the last one only grows older.
STATE = """
    select
        pg_catalog.pg_is_in_recovery(),
        publication.batch_id,
        publications.data_as_of,
        publication.revision,
        case
            when pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() then 0
            else extract(epoch from pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())
        end::float8
    from (values (1)) as one (row)
    left join app.current_publication as publication on publication.target = {target}
    left join app.publications as publications
        on publication.target = publications.target and publication.batch_id = publications.batch_id
"""
# the same for a primary and its streaming replicas
IDENTITY = """
    select control.system_identifier::text || '/' || databases.oid::text
    from pg_catalog.pg_control_system() as control, pg_catalog.pg_database as databases
    where databases.datname = pg_catalog.current_database()
"""


@dataclass(frozen=True)
class ReplicaState:
    """What a replica has replayed.

    Attributes:
        batch_id: the batch of its current publication; None if it has none.
        data_as_of: of that publication. A restored database uses batch ids again: the time distinguishes them.
        revision: of the publication; counts erasures.
        lag_seconds: how old the last replayed transaction is, if later ones were received; None if none was replayed.
    """

    batch_id: int | None
    data_as_of: datetime | None
    revision: int | None
    lag_seconds: float | None


class NotUsable(MailmartError):
    """The server is no streaming replica of the primary."""


def read_identity(connection: psycopg.Connection) -> str:
    """The identity of a database, which its streaming replicas share; '' if a managed PostgreSQL hides it."""
    try:
        with connection.transaction():
            row = connection.execute(IDENTITY).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return ""
    return str(row[0]) if row else ""


class ReplicaMonitor:
    """Keeps the state of a replica, as long as it is known."""

    def __init__(
        self,
        conninfo: str,
        begin: Sequence[str],
        target: str,
        primary_identity: Callable[[], str],
        on_change: Callable[[ReplicaState | None], None],
    ) -> None:
        """`begin` are the statements that begin a transaction of the API's role.

        `primary_identity` reads the primary's `read_identity`, and may wait. `on_change` is called after each question, from the
        monitor's thread; with None if the replica cannot be used.
        """
        self._conninfo = conninfo
        self._begin = begin
        self._target = target
        self._primary_identity = primary_identity
        self._on_change = on_change
        self._state: ReplicaState | None = None
        self._expires_at = 0.0
        self._problem = ""
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replica", daemon=True)

    def start(self) -> None:
        """Starts to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the watch; within seconds, whatever the replica does."""
        self._is_stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=CONNECT_TIMEOUT_SECONDS + CHECK_TIMEOUT_SECONDS + 1)

    def current(self) -> ReplicaState | None:
        """The state; None if the replica is not known to respond and to be a replica of the primary."""
        return self._state if time.monotonic() < self._expires_at else None

    def _run(self) -> None:
        asyncio.run(self._watch())

    async def _watch(self) -> None:
        while not self._is_stopping.is_set():
            try:
                await self._follow()
            except (psycopg.Error, OSError, MailmartError) as error:
                self._lose(error.message if isinstance(error, MailmartError) else str(error).strip())
            await self._pause()

    async def _follow(self) -> None:
        """Asks again and again over one connection.

        Raises:
            psycopg.Error: the replica does not respond.
            NotUsable: it is no replica of the primary.
            WarehouseUnavailable: the primary does not respond, of which it has to be a replica.
        """
        connection = await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True, prepare_threshold=None, connect_timeout=CONNECT_TIMEOUT_SECONDS
        )
        try:
            await self._check_identity(connection)
            while not self._is_stopping.is_set():
                is_replica, *values = await self._ask(connection, self._state_query(connection))
                if not is_replica:
                    raise NotUsable("MAILMART_READ_DATABASE_URL is a server that is not in recovery: it is no streaming replica")
                self._keep(ReplicaState(*values))
                await self._pause()
        finally:
            with suppress(psycopg.Error):
                await connection.close()

    async def _check_identity(self, connection: psycopg.AsyncConnection[Any]) -> None:
        try:
            (identity,) = await self._ask(connection, IDENTITY)
        except psycopg.errors.InsufficientPrivilege:
            return
        # it may wait for the primary: not on the event loop
        primary = await asyncio.to_thread(self._primary_identity)
        if primary not in ("", identity):
            raise NotUsable("MAILMART_READ_DATABASE_URL is another database: no streaming replica of MAILMART_DATABASE_URL")

    def _state_query(self, connection: psycopg.AsyncConnection[Any]) -> str:
        return STATE.format(target=sql.Literal(self._target).as_string(connection))

    async def _ask(self, connection: psycopg.AsyncConnection[Any], query: str) -> tuple[Any, ...]:
        """The row of a query in a transaction of the API's role.

        Raises:
            psycopg.Error: it failed, or did not end in time.
        """
        question = asyncio.ensure_future(self._run_query(connection, query))
        done, _ = await asyncio.wait({question}, timeout=CHECK_TIMEOUT_SECONDS)
        if not done:
            self._lose(f"no response within {CHECK_TIMEOUT_SECONDS:g} s")
            # not canceled: that would wait for the server again
            shut_down(connection.pgconn)
        return await question

    async def _run_query(self, connection: psycopg.AsyncConnection[Any], query: str) -> tuple[Any, ...]:
        texts = ["begin read only", *self._begin, query, "commit"]
        try:
            cursor = await connection.execute("; ".join(texts).encode())
            while cursor.description is None and cursor.nextset():
                pass
            row = await cursor.fetchone()
        except psycopg.Error:
            if not connection.closed:
                await connection.rollback()
            raise
        if row is None:
            raise psycopg.DataError("the replica returned no row")
        return tuple(row)

    def _keep(self, state: ReplicaState) -> None:
        if self._state is None:
            LOG.info("the replica responds, and has batch %s", state.batch_id)
        self._problem = ""
        self._state, self._expires_at = state, time.monotonic() + STATE_TTL_SECONDS
        self._on_change(state)

    def _lose(self, problem: str) -> None:
        self._state, self._expires_at = None, 0.0
        # one line for each problem, and not one a second
        if problem != self._problem and not self._is_stopping.is_set():
            self._problem = problem
            LOG.warning("the replica is not used, the primary answers: %s", problem)
        self._on_change(None)

    async def _pause(self) -> None:
        until = time.monotonic() + CHECK_INTERVAL_SECONDS
        while not self._is_stopping.is_set() and time.monotonic() < until:
            await asyncio.sleep(0.1)
