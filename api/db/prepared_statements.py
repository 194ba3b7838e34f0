"""Statements that PostgreSQL parses and plans once for each connection, and a transaction of them in one round trip.

They are sent by the extended protocol, as a pipeline of libpq: the server runs it as one transaction, and skips the rest after an
error.

PostgreSQL plans a statement without parameters once, for all tenants and windows. So a statement has to read its settings where
the planner cannot look: in `(select current_setting(…))`, as macros/request and the policies do. See decision 102.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from enum import Enum, auto
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.waiting import Ready, Wait

from api.db.loop_socket import LoopSocket
from api.db.text_rows import TextQuery, rows_of, text_transformer

# a plan of a mart takes up to a megabyte of the server's memory
MAX_STATEMENTS = 64
# libpq 17 is the first that closes a statement by the protocol; a pooler does not read the command `deallocate`
FIRST_LIBPQ = 17_00_00

Rows = list[tuple[Any, ...]]


class Statement(NamedTuple):
    """One statement, and the values of its parameters $1, $2 and so on as texts."""

    text: str
    values: tuple[str, ...] = ()


class _Message(Enum):
    CLOSE = auto()
    PREPARE = auto()
    EXECUTE = auto()
    EXECUTE_AS_TEXT = auto()


def is_supported() -> bool:
    """Whether this libpq can send a pipeline and close a statement."""
    return pq.version() >= FIRST_LIBPQ and psycopg.Pipeline.is_supported()


@lru_cache(maxsize=1024)
def statement_name(text: str) -> bytes:
    """The name of a statement. Behind a pooler, several clients can have one session: the same name is the same text."""
    return b"mailmart_" + blake2b(text.encode(), digest_size=16).hexdigest().encode()


class PreparedStatements:
    """The statements that a connection has prepared. It closes the least recently used above a number."""

    def __init__(self, connection: psycopg.Connection[Any], max_statements: int = MAX_STATEMENTS) -> None:
        self._connection = connection
        self._max_statements = max_statements
        self._names: OrderedDict[bytes, None] = OrderedDict()
        self._version = ""
        self._transformer = Transformer(connection)
        self._text_transformer = text_transformer(connection)

    def __len__(self) -> int:
        return len(self._names)

    def run(self, statements: Sequence[Statement], version: str) -> list[Rows]:
        """Runs the statements in one transaction and returns the rows of each. The connection has to be in no transaction.

        `version` is what the plans are of: statements of another one are closed.

        Raises:
            psycopg.Error: a statement failed, and nothing remains of the transaction; or the connection was lost.
        """
        messages = self._send(statements, self._obsolete(version))
        try:
            results = self._connection.wait(_results(self._connection.pgconn))
        except BaseException:
            # nobody knows what the server is still going to send
            self._connection.close()
            raise
        return self._rows(messages, results)

    async def run_on_loop(self, statements: Sequence[Statement], version: str, socket: LoopSocket) -> list[Rows]:
        """As `run`, on the event loop that watches the connection's socket. A task that is canceled loses the connection."""
        messages = self._send(statements, self._obsolete(version))
        try:
            results = await socket.results()
        except BaseException:
            self._connection.close()
            raise
        return self._rows(messages, results)

    def close_all(self) -> None:
        """Closes all statements.

        Raises:
            psycopg.Error: the connection was lost.
        """
        messages = self._send([], list(self._names))
        self._rows(messages, self._connection.wait(_results(self._connection.pgconn)))

    def _obsolete(self, version: str) -> list[bytes]:
        obsolete = [] if version == self._version else list(self._names)
        self._version = version
        return obsolete

    def _send(self, statements: Sequence[Statement], obsolete: Sequence[bytes]) -> list[tuple[_Message, bytes]]:
        """Queues the messages of a pipeline, and returns them."""
        values = [_encoded(statement.values) for statement in statements]
        names = [statement_name(statement.text) for statement in statements]
        missing: set[bytes] = set()
        least_used: list[bytes] = []
        if obsolete or not all(name in self._names for name in names):
            known = self._names.keys() - obsolete
            missing = set(names) - known
            surplus = len(known) + len(missing) - self._max_statements
            least_used = [name for name in self._names if name in known and name not in names][: max(surplus, 0)]
        messages: list[tuple[_Message, bytes]] = []
        pgconn = self._connection.pgconn
        if pgconn.transaction_status != pq.TransactionStatus.IDLE:
            raise psycopg.InterfaceError("a pipeline cannot be a part of a transaction")
        try:
            pgconn.enter_pipeline_mode()
            for name in (*obsolete, *least_used):
                pgconn.send_close_prepared(name)
                messages.append((_Message.CLOSE, name))
            for statement, name, encoded in zip(statements, names, values, strict=True):
                # only here: its role is that of the statements before it
                if name in missing:
                    pgconn.send_prepare(name, statement.text.encode())
                    messages.append((_Message.PREPARE, name))
                    missing.discard(name)
                pgconn.send_query_prepared(name, encoded)
                is_text = isinstance(statement.text, TextQuery)
                messages.append((_Message.EXECUTE_AS_TEXT if is_text else _Message.EXECUTE, name))
            pgconn.pipeline_sync()
        except BaseException:
            self._connection.close()
            raise
        return messages

    def _rows(self, messages: Sequence[tuple[_Message, bytes]], results: Sequence[pq.abc.PGresult]) -> list[Rows]:
        """The rows of the results; remembers which statements the connection has now.

        Raises:
            psycopg.Error: of the first statement that failed, or the connection was lost.
        """
        if len(results) == len(messages):
            self._connection.pgconn.exit_pipeline_mode()
        rows = []
        error: psycopg.Error | None = None
        for (message, name), result in zip(messages, results, strict=False):
            if result.status == pq.ExecStatus.PIPELINE_ABORTED:
                continue
            if result.status == pq.ExecStatus.FATAL_ERROR:
                error = error or error_from_result(result, encoding="utf-8")
            elif message is _Message.CLOSE:
                self._names.pop(name, None)
            elif message is _Message.PREPARE:
                self._names[name] = None
            else:
                self._names.move_to_end(name)
                is_text = message is _Message.EXECUTE_AS_TEXT
                rows.append(rows_of(self._text_transformer if is_text else self._transformer, result))
        self._transformer.set_pgresult(None)
        self._text_transformer.set_pgresult(None)
        if len(results) < len(messages):
            self._connection.close()
            error = error or psycopg.OperationalError("the connection was lost")
        if error is not None:
            raise error
        return rows


def _encoded(values: Sequence[str]) -> list[bytes]:
    """The values for libpq.

    Raises:
        psycopg.DataError: a value contains NUL. libpq would send what is before it.
    """
    encoded = [value.encode() for value in values]
    if b"\0" in b"".join(encoded):
        raise psycopg.DataError("a text of PostgreSQL cannot contain NUL")
    return encoded


def _results(pgconn: pq.abc.PGconn) -> PQGen[list[pq.abc.PGresult]]:
    """Sends the queued messages, and receives one result for each; fewer if the connection is lost."""
    while pgconn.flush():
        # the server may wait until its own data are read
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
    results: list[pq.abc.PGresult] = []
    while True:
        while pgconn.is_busy():
            yield Wait.R
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            # the end of a message's results; libpq returns nothing else once the connection is lost
            if pgconn.status != pq.ConnStatus.OK:
                return results
        elif result.status == pq.ExecStatus.PIPELINE_SYNC:
            return results
        else:
            results.append(result)
