"""Stores batches of bodies over one connection, each batch in one transaction and once."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import psycopg
from psycopg import pq

from api.db.connection import OPTIONS_ARRIVED, conninfo
from api.db.pipeline import (
    BIGINT_OID,
    TEXT_ARRAY_OID,
    UUID_OID,
    Param,
    Pipeline,
    Statement,
    null_array,
    settings_statement,
    text_array,
)
from api.db.session import Role, check_transaction, transaction_settings
from api.errors import MailmartError
from api.ingest.bodies import Problem
from api.settings import Settings

ROLE: Role = "mailmart_intake"
CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_SECONDS = 10
LOCK_TIMEOUT_SECONDS = 3
IDLE_TIMEOUT_SECONDS = TRANSACTION_TIMEOUT_SECONDS = 30
FIRST_TRANSACTION_TIMEOUT = 170_000
# another session than the one that has prepared the statement or taken the role, or a function that returns something else
ANOTHER_SESSION = (
    psycopg.errors.InvalidSqlStatementName,
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.InsufficientPrivilege,
)
PREPARE_AGAIN_SECONDS = 60.0
# how long the bodies of a lost connection wait for another one
MAX_RECONNECT_SECONDS = 5.0
SECONDS_BETWEEN_ATTEMPTS = 0.1

BEGIN, COMMIT, ROLLBACK = Statement(b"begin"), Statement(b"commit"), Statement(b"rollback")
STORE = b"select line, problem, reason from app.store_webhook_bodies($1, $2, $3, $4, $5, $6)"
STORE_NAME = b"mailmart_store"
STORE_TYPES = (UUID_OID, BIGINT_OID, *[TEXT_ARRAY_OID] * 4)
# in a session that no other process uses, a transaction is one statement, which the server has prepared
SESSION_OPTIONS = (
    f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS * 1000} -c lock_timeout={LOCK_TIMEOUT_SECONDS * 1000}"
    f" -c idle_in_transaction_session_timeout={IDLE_TIMEOUT_SECONDS * 1000}"
)


# whether a batch may be committed; awaited again over another connection
Permission = Callable[[], Awaitable[bool]]


class Body(NamedTuple):
    """A document of a source; with a problem and a reason if it is kept as rejected."""

    source_id: str
    text: str
    problem: Problem | None = None
    reason: str | None = None


class BatchNotConfirmed(Exception):
    """No connection came in time, or the attempt after a lost one failed: as far as this process knows, nothing is stored."""


class BatchStore:
    """One connection. For one event loop, one batch at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._transaction = transaction_settings(ROLE, statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS)
        self._set = settings_statement(
            [
                *self._transaction,
                f"set local lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'",
                f"set local idle_in_transaction_session_timeout = '{IDLE_TIMEOUT_SECONDS}s'",
            ]
        )
        self._id = str(uuid.uuid4()).encode()
        self._number = 0
        self._pipeline: Pipeline | None = None
        # whether the session of the connection has the settings, and has prepared the statement
        self._is_prepared = False
        self._prepare_again_at = 0.0

    async def store(
        self, bodies: Sequence[Body], *, reconnect_seconds: float, permission: Permission | None = None
    ) -> list[tuple[int, str, str]] | None:
        """Stores a batch in one transaction, over another connection if the first one is lost.

        Returns place (from 1), problem and reason of each body that was rejected. None if nothing is stored, because there is no
        permission: PostgreSQL works while that is awaited, and commits afterwards.
        The batch has a number, so that it is stored once even if its commit was lost on the way back.

        Raises:
            BatchNotConfirmed: there is no connection, or was none in time to learn whether the batch is stored.
            psycopg.Error: the server refused the batch; nothing is stored.
        """
        self._number += 1
        store = Statement(
            STORE,
            (
                Param(self._id),
                Param(str(self._number).encode()),
                text_array([body.source_id for body in bodies]),
                text_array([body.text for body in bodies]),
                *_problems(bodies),
            ),
        )
        deadline = time.monotonic() + reconnect_seconds
        is_first = True
        while True:
            try:
                return await self._run(store, permission)
            except (psycopg.Error, MailmartError) as error:
                # the server refused the statement, and the connection is fine
                is_refused = self._pipeline is not None
                if is_refused and is_first:
                    raise
                if is_refused or time.monotonic() > deadline:
                    raise BatchNotConfirmed(str(error).strip()) from error
                is_first = False
            await asyncio.sleep(SECONDS_BETWEEN_ATTEMPTS)

    def close(self) -> None:
        """Closes the connection."""
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    async def _run(self, store: Statement, permission: Permission | None) -> list[tuple[int, str, str]] | None:
        """Runs the transaction. After an error, there is a pipeline only if its connection is still good."""
        if self._pipeline is not None and self._pipeline.is_closed:
            # the server closed it meanwhile
            self.close()
        if self._pipeline is None:
            self._pipeline = Pipeline(await asyncio.to_thread(self._connect))
        pipeline = self._pipeline
        try:
            if self._is_prepared:
                pipeline.send((Statement(store.query, store.params, STORE_NAME),))
                if permission is not None and not await permission():
                    # `begin` makes a block of the transaction, which a warning would be about otherwise
                    await pipeline.run((BEGIN, ROLLBACK))
                    return None
                (stored,) = await pipeline.finish()
            elif permission is not None and not await permission():
                return None
            else:
                *_, stored, committed = await pipeline.run((BEGIN, self._set, store, COMMIT))
                if committed.command_status != b"COMMIT":
                    # it cannot be: the commit of a failed transaction follows the error
                    raise psycopg.OperationalError("the transaction was not committed")
        except BaseException as error:
            if not pipeline.is_closed and isinstance(error, psycopg.Error):
                try:
                    await pipeline.run((ROLLBACK,))
                except psycopg.Error:
                    pipeline.close()
            if self._is_prepared and isinstance(error, ANOTHER_SESSION):
                # as after a lost connection: nothing is stored, and the next one does not rely on its session
                self._prepare_again_at = time.monotonic() + PREPARE_AGAIN_SECONDS
                self.close()
            if pipeline.is_closed or not isinstance(error, psycopg.Error):
                self.close()
            raise
        return [
            (int(stored.get_value(row, 0) or b"0"), _text(stored.get_value(row, 1)), _text(stored.get_value(row, 2)))
            for row in range(stored.ntuples)
        ]

    def _connect(self) -> psycopg.Connection:
        connection = psycopg.connect(
            conninfo(self._settings, ROLE, options=SESSION_OPTIONS),
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
        )
        try:
            check_transaction(connection, self._transaction, ROLE)
            self._is_prepared = time.monotonic() >= self._prepare_again_at and _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _prepare(connection: psycopg.Connection) -> bool:
    """Prepares the statement, if the session has our settings. Not behind a pooler, which drops them or may change sessions."""
    row = connection.execute(
        f"select current_setting('{OPTIONS_ARRIVED}', true), current_user::text, current_setting('lock_timeout')".encode()
    ).fetchone()
    if row != ("yes", ROLE, f"{LOCK_TIMEOUT_SECONDS}s"):
        return False
    if connection.info.server_version >= FIRST_TRANSACTION_TIMEOUT:
        # a process that is stopped between the two parts of a transaction
        connection.execute(f"set transaction_timeout = '{TRANSACTION_TIMEOUT_SECONDS}s'".encode())
    # without the function, the statement itself has the error
    return connection.pgconn.prepare(STORE_NAME, STORE, STORE_TYPES).status == pq.ExecStatus.COMMAND_OK


def _problems(bodies: Sequence[Body]) -> Sequence[Param]:
    """The problems and the reasons."""
    if all(body.problem is None for body in bodies):
        return (null_array(len(bodies)),) * 2
    return text_array([body.problem for body in bodies]), text_array([body.reason for body in bodies])


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode()
