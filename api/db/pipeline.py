"""Sends statements to PostgreSQL as one message, on an event loop (libpq's pipeline mode): no thread, and one round trip."""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from api.db.sockets import MAX_READS, HangUp

TEXT_ARRAY_OID, TEXT_OID = 1009, 25
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
    """One statement and its parameters."""

    query: bytes
    params: Sequence[Param] = ()


def settings_statement(settings: Sequence[str]) -> Statement:
    """One statement with the effect of several `set local name = value`: each one of a pipeline costs the server 10 µs."""
    found = [_SETTING.fullmatch(setting) for setting in settings]
    calls = [f"set_config('{match[1]}', '{match[2].strip(chr(39))}', true)" for match in found if match is not None]
    if len(calls) != len(settings):
        raise ValueError("not all of them are of the form `set local name = value`")
    return Statement(f"select {', '.join(f'pg_catalog.{call}' for call in calls)}".encode())


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
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[list[pq.abc.PGresult]] | None = None
        self._results: list[pq.abc.PGresult] = []
        self._is_writing = False
        self._socket = self._pgconn.socket
        self.is_closed = False
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()
        self._hang_up = HangUp(self._socket)
        self._loop.add_reader(self._socket, self._receive)

    async def run(self, statements: Sequence[Statement]) -> list[pq.abc.PGresult]:
        """The results of the statements. After one that fails, the server skips the rest of the pipeline.

        Raises:
            psycopg.Error: of the first statement that failed. If the connection is lost, `is_closed` is true.
        """
        if self.is_closed:
            raise psycopg.OperationalError("the connection is closed")
        waiter = self._waiter = self._loop.create_future()
        self._results = []
        try:
            for statement in statements:
                self._pgconn.send_query_params(
                    statement.query,
                    [param.value for param in statement.params],
                    [param.oid for param in statement.params],
                    [param.format for param in statement.params],
                )
            self._pgconn.pipeline_sync()
            self._send()
            results: list[pq.abc.PGresult] = await waiter
        except psycopg.OperationalError:
            if self._pgconn.status != pq.ConnStatus.OK:
                self.close()
            raise
        except asyncio.CancelledError:
            # what was sent may be stored, and nobody reads the results
            self.close()
            raise
        finally:
            self._waiter = None
        return results

    def close(self) -> None:
        """Closes the connection."""
        if not self.is_closed:
            self.is_closed = True
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket)
                self._loop.remove_writer(self._socket)
            self._connection.close()

    def _send(self) -> None:
        """Sends what is left. Raises psycopg.OperationalError if the connection is lost."""
        is_left = self._pgconn.flush() == 1
        if is_left and not self._is_writing:
            self._loop.add_writer(self._socket, self._send_more)
        elif self._is_writing and not is_left:
            self._loop.remove_writer(self._socket)
        self._is_writing = is_left

    def _send_more(self) -> None:
        try:
            self._send()
        except psycopg.OperationalError as error:
            self._lost(error)

    def _receive(self) -> None:
        try:
            for _ in range(MAX_READS):
                self._pgconn.consume_input()
                if self._is_writing:
                    self._send()
                self._read_results()
                if self.is_closed or not self._hang_up:
                    return
            raise psycopg.OperationalError("the connection is lost")
        except psycopg.OperationalError as error:
            self._lost(self._first_error() or error)

    def _read_results(self) -> None:
        while self._waiter is not None and not self._waiter.done() and not self._pgconn.is_busy():
            result = self._pgconn.get_result()
            if result is None:
                if self._pgconn.status != pq.ConnStatus.OK:
                    self._lost(self._first_error() or psycopg.OperationalError("the connection is lost"))
            elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                self._finish(self._first_error())
            else:
                self._results.append(result)

    def _first_error(self) -> psycopg.Error | None:
        for result in self._results:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                return error_from_result(result)
        return None

    def _finish(self, error: psycopg.Error | None) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if error is None:
            self._waiter.set_result(self._results)
        else:
            self._waiter.set_exception(error)

    def _lost(self, error: psycopg.Error) -> None:
        self.close()
        self._finish(error)
