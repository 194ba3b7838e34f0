"""Sends statements to PostgreSQL as one message, on an event loop (libpq's pipeline mode): no thread, and one round trip."""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from api.db.loop_socket import LoopSocket

# lengths of arrays that are kept
MAX_NULLS = 1024
TEXT_ARRAY_OID, TEXT_OID, BIGINT_OID, UUID_OID = 1009, 25, 20, 2950
TEXT, BINARY = pq.Format.TEXT, pq.Format.BINARY
_SETTING = re.compile(r"set local (\w+)(?: =)? (.+)")


@dataclass(frozen=True)
class Param:
    """A parameter: its value in the format of the protocol; type 0 is inferred by the server."""

    value: bytes | None
    oid: int = 0
    format: pq.Format = TEXT


@dataclass(frozen=True)
class Statement:
    """One statement and its parameters; with its name if the session has prepared it."""

    query: bytes
    params: Sequence[Param] = ()
    name: bytes = b""


def settings_statement(settings: Sequence[str]) -> Statement:
    """One statement with the effect of several `set local name = value`: each one of a pipeline costs the server 10 µs."""
    found = [_SETTING.fullmatch(setting) for setting in settings]
    calls = [f"set_config('{match[1]}', '{match[2].strip(chr(39))}', true)" for match in found if match is not None]
    if len(calls) != len(settings):
        raise ValueError("not all of them are of the form `set local name = value`")
    return Statement(f"select {', '.join(f'pg_catalog.{call}' for call in calls)}".encode())


@lru_cache(MAX_NULLS)
def null_array(length: int) -> Param:
    """As `text_array` of so many nulls."""
    return text_array([None] * length)


def text_array(values: Sequence[str | None]) -> Param:
    """An array of texts in the binary format, which needs no escapes."""
    if not values:
        return Param(struct.pack("!iii", 0, 0, TEXT_OID), TEXT_ARRAY_OID, BINARY)
    parts = [struct.pack("!iiiii", 1, 1, TEXT_OID, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(b"\xff\xff\xff\xff")
        else:
            encoded = value.encode()
            parts += (struct.pack("!i", len(encoded)), encoded)
    return Param(b"".join(parts), TEXT_ARRAY_OID, BINARY)


class Pipeline:
    """Runs statements over a connection, one pipeline at a time. Made and used on one event loop; owns the connection."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()
        self._socket = LoopSocket(connection)
        self._sent = 0

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed or lost."""
        return not self._socket.is_watched

    async def run(self, statements: Sequence[Statement]) -> list[pq.abc.PGresult]:
        """The results of the statements. After one that fails, the server skips the rest of the pipeline.

        Without a `begin` among them, they are a transaction, which is committed once this returns.

        Raises:
            psycopg.Error: of the first statement that failed. If the connection is lost, `is_closed` is true.
        """
        self.send(statements)
        return await self.finish()

    def send(self, statements: Sequence[Statement]) -> None:
        """Sends statements, which the server runs while others are sent, or nothing. It ends the transaction in `finish`.

        Raises:
            psycopg.OperationalError: the connection is lost.
        """
        if self.is_closed:
            raise psycopg.OperationalError("the connection is closed")
        try:
            for statement in statements:
                values = [param.value for param in statement.params]
                formats = [param.format for param in statement.params]
                if statement.name:
                    self._pgconn.send_query_prepared(statement.name, values, formats)
                else:
                    self._pgconn.send_query_params(statement.query, values, [param.oid for param in statement.params], formats)
            self._sent += len(statements)
            self._socket.send()
        except psycopg.OperationalError:
            self.close()
            raise

    async def finish(self) -> list[pq.abc.PGresult]:
        """The results of all statements that were sent, and the end of their transaction: see `run`."""
        sent, self._sent = self._sent, 0
        try:
            self._pgconn.pipeline_sync()
            results = await self._socket.results()
        except psycopg.OperationalError:
            if self._pgconn.status != pq.ConnStatus.OK or self.is_closed:
                self.close()
            raise
        except asyncio.CancelledError:
            # what was sent may be stored, and nobody reads the results
            self.close()
            raise
        # all results may have come, and yet not the commit after them
        is_lost = len(results) < sent or not self._socket.is_synced
        if is_lost:
            self.close()
        for result in results:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise error_from_result(result)
        if is_lost:
            raise psycopg.OperationalError("the connection is lost")
        return results

    def close(self) -> None:
        """Closes the connection."""
        self._socket.stop()
        self._connection.close()
