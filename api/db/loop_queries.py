"""Queries of an event loop, with the connections of the pool and without a thread.

Threads use the same pool, and come first: a connection that is put back goes to a thread that waits. Requests of the loop wait
in a queue of their own, in order, as long as the loop itself uses a connection, which it then puts back. Otherwise nobody would
wake them, and they go to a thread. So does whatever fails.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from api.db.pool import ConnectionPool, PoolConnection
from api.db.prepared_statements import Rows


class LoopQueries:
    """The queries of one event loop."""

    def __init__(self, pool: ConnectionPool, max_wait_seconds: float) -> None:
        """A request that has waited for a connection for `max_wait_seconds` goes to a thread, which knows what to respond."""
        self._pool = pool
        self._max_wait_seconds = max_wait_seconds
        self._in_use = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()

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
            self._pool.put_back(connection)
            self._wake_next()

    async def _take(self) -> PoolConnection | None:
        connection = None if self._waiting else self._pool.take_idle()
        deadline = asyncio.get_running_loop().time() + self._max_wait_seconds
        has_waited = False
        # a thread that waits makes the pool grow, and whoever waits here does not
        while connection is None and self._in_use and not self._pool.can_grow():
            if not await self._is_turn(deadline, is_first=has_waited):
                break
            has_waited = True
            connection = self._pool.take_idle()
        if connection is not None:
            self._in_use += 1
        # threads wake nobody here; and if there is no connection at all, the next request has to notice that it waits in vain
        if self._waiting and (connection is None or self._pool.has_idle()):
            self._wake_next()
        return connection

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
