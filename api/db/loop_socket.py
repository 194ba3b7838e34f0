"""The socket of a connection, watched by an event loop for as long as the loop has the connection.

To watch a socket and to stop costs an event loop as much as to send a query. So the loop goes on watching between two queries; it
then also notices a connection that the server has closed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from api.db.sockets import MAX_READS, HangUp


class LoopSocket:
    """Receives the results of one connection. Made and used on one event loop. Stop it before the connection is closed.

    Attributes:
        is_watched: until it is stopped, or the connection is lost.
        is_synced: the server has ended the last pipeline, and committed it if nothing failed.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._pgconn = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._descriptor = self._pgconn.socket
        self._waiter: asyncio.Future[list[pq.abc.PGresult]] | None = None
        self._results: list[pq.abc.PGresult] = []
        self._is_writing = False
        self.is_watched = True
        self.is_synced = False
        self._hang_up = HangUp(self._descriptor)
        self._loop.add_reader(self._descriptor, self._receive)

    async def results(self) -> list[pq.abc.PGresult]:
        """Sends the queued messages, and receives one result for each message of a pipeline; fewer if the connection is lost.

        Raises:
            psycopg.OperationalError: the connection is lost.
        """
        waiter: asyncio.Future[list[pq.abc.PGresult]] = self._loop.create_future()
        self._waiter = waiter
        self._results = []
        self.is_synced = False
        try:
            if not self.is_watched:
                raise psycopg.OperationalError("the connection is lost")
            self.send()
            return await waiter
        finally:
            self._waiter = None

    def stop(self) -> None:
        """Stops watching. At once: the next connection that a thread makes can have the descriptor of one that is closed."""
        if self.is_watched:
            self.is_watched = False
            if not self._loop.is_closed():
                self._loop.remove_reader(self._descriptor)
                if self._is_writing:
                    self._loop.remove_writer(self._descriptor)

    def send(self) -> None:
        """Sends the queued messages: what the socket has no room for, once it has.

        Raises:
            psycopg.OperationalError: the connection is lost.
        """
        is_left = self._pgconn.flush() == 1
        if is_left != self._is_writing:
            self._is_writing = is_left
            if is_left:
                self._loop.add_writer(self._descriptor, self._send_more)
            else:
                self._loop.remove_writer(self._descriptor)

    def _send_more(self) -> None:
        try:
            self.send()
        except psycopg.Error as error:
            self._lose(error)

    def _receive(self) -> None:
        try:
            for _ in range(MAX_READS):
                self._pgconn.consume_input()
                if self._is_writing:
                    # the server may have waited until its own data were read
                    self.send()
                self._read_results()
                if not self._hang_up:
                    return
            raise psycopg.OperationalError("the connection is lost")
        except psycopg.Error as error:
            self._lose(error)

    def _read_results(self) -> None:
        pgconn, waiter = self._pgconn, self._waiter
        while waiter is not None and not waiter.done() and not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                # the end of a message's results; libpq returns nothing else once the connection is lost
                if pgconn.status != pq.ConnStatus.OK:
                    self.stop()
                    waiter.set_result(self._results)
            elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                self.is_synced = True
                waiter.set_result(self._results)
            else:
                self._results.append(result)

    def _lose(self, error: psycopg.Error) -> None:
        self.stop()
        if self._waiter is not None and not self._waiter.done():
            # what the server said last is the reason
            failed = [result for result in self._results if result.status == pq.ExecStatus.FATAL_ERROR]
            self._waiter.set_exception(error_from_result(failed[0]) if failed else error)
