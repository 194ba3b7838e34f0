"""Queries of an event loop, with the connections of the pool and without a thread.

The loop keeps a connection for its next query, for at most a second: to take one and to give it back costs as much as to send the
query. A thread that finds none in the pool gets one of them at once, or the next one that is free. Requests of the loop wait in a
queue of their own, in order, as long as the loop itself uses a connection. Otherwise nobody would wake them, and they go to a
thread. So does whatever fails.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress

import psycopg

from api.db.loop_socket import LoopSocket
from api.db.pool import ConnectionPool, PoolConnection
from api.db.prepared_statements import Rows

# afterwards the pool has all of them: it replaces those that are old
KEEP_SECONDS = 1.0


class LoopQueries:
    """The queries of one event loop."""

    def __init__(self, pool: ConnectionPool, max_wait_seconds: float) -> None:
        """A request that has waited for a connection for `max_wait_seconds` goes to a thread, which knows what to respond."""
        self._pool = pool
        self._max_wait_seconds = max_wait_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._in_use = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()
        # the last one is the next that is used
        self._kept: list[PoolConnection] = []
        self._period = 0
        self._timer: asyncio.TimerHandle | None = None
        # threads that wait for the next connection that is free
        self._owed = 0
        pool.on_shortage = self._lend_to_thread

    async def query(self, settings: Mapping[str, str], statements: Sequence[str]) -> list[Rows] | None:
        """As `ConnectionPool.query`. None if a thread has to do it, for whatever reason.

        Raises:
            QueryTimeout: the server canceled a statement at its time limit.
        """
        connection = await self._take()
        if connection is None:
            return None
        try:
            return await self._pool.query_on_loop(connection, settings, statements)
        finally:
            self._in_use -= 1
            self._keep(connection)
            self._wake_next()

    def close(self) -> None:
        """Gives all connections back."""
        self._pool.on_shortage = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._return_kept()

    async def _take(self) -> PoolConnection | None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._return_kept()
            self._loop = loop
        connection = None if self._waiting else self._take_idle()
        deadline = loop.time() + self._max_wait_seconds
        has_waited = False
        # a thread that waits makes the pool grow, and whoever waits here does not
        while connection is None and self._in_use and not self._pool.can_grow():
            if not await self._is_turn(deadline, is_first=has_waited):
                break
            has_waited = True
            connection = self._take_idle()
        if connection is not None:
            self._in_use += 1
        # threads wake nobody here; and if there is no connection at all, the next request has to notice that it waits in vain
        if self._waiting and (connection is None or self._kept or self._pool.has_idle()):
            self._wake_next()
        return connection

    def _take_idle(self) -> PoolConnection | None:
        while self._kept:
            connection = self._kept.pop()
            if self._pool.can_query_on_loop(connection):
                return connection
            self._pool.put_back(connection)
        taken = self._pool.take_idle()
        if taken is not None:
            try:
                taken.loop_socket = LoopSocket(taken)
            except psycopg.Error:
                # it was lost while nobody used it
                taken.close()
                self._pool.put_back(taken)
                return None
            taken.loop_period = self._period
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(KEEP_SECONDS, self._end_period)
        return taken

    def _keep(self, connection: PoolConnection) -> None:
        """Keeps a connection whose query has ended, unless a thread waits for it or its time is over."""
        if self._owed or connection.loop_period != self._period or not self._pool.can_query_on_loop(connection):
            self._owed = max(self._owed - 1, 0)
            self._pool.put_back(connection)
        else:
            self._kept.append(connection)

    def _end_period(self) -> None:
        self._timer = None
        self._period += 1
        self._owed = 0
        self._return_kept()

    def _return_kept(self) -> None:
        kept, self._kept = self._kept, []
        for connection in kept:
            self._pool.put_back(connection)

    def _lend_to_thread(self) -> None:
        """Called by a thread that found no connection in the pool."""
        if self._loop is not None:
            # the loop may be closed
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._lend)

    def _lend(self) -> None:
        if self._kept:
            self._pool.put_back(self._kept.pop(0))
        elif self._in_use:
            self._owed += 1

    async def _is_turn(self, deadline: float, *, is_first: bool) -> bool:
        """Waits for a turn, as the first or the last of the queue. False at the deadline."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        if is_first:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        timer = loop.call_at(deadline, _end_wait, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            # its client is gone: the next one has its turn
            if not turn.cancelled():
                self._wake_next()
            raise
        finally:
            timer.cancel()

    def _wake_next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(True)
                return


def _end_wait(turn: asyncio.Future[bool]) -> None:
    if not turn.done():
        turn.set_result(False)
