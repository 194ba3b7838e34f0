"""Ends what takes too long, with one timer for all: asyncio.timeout makes a timer for each request, nearly all for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from api.errors import RequestTimeout

T = TypeVar("T")
# how much later than its deadline something may end, as a part of its time
LATENESS = 1 / 30


class Deadlines:
    """A time that many waits have each. Used on one event loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # in the order of their deadlines, because all have the same time
        self._deadlines: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def wait_for(self, awaitable: Awaitable[T]) -> T:
        """The result of what is awaited. A task can wait for one thing at a time.

        Raises:
            RequestTimeout: it was not there in time.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        loop = task.get_loop()
        self._deadlines[task] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds * LATENESS, self._cancel_late, loop)
        try:
            return await awaitable
        except asyncio.CancelledError:
            # otherwise whoever canceled it wants the task to end
            if task in self._late and task.uncancel() == 0:
                raise RequestTimeout from None
            raise
        finally:
            del self._deadlines[task]
            self._late.discard(task)

    def _cancel_late(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for task, deadline in self._deadlines.items():
            if deadline > now:
                break
            if task not in self._late:
                self._late.add(task)
                task.cancel()
        if self._deadlines:
            self._timer = loop.call_later(self._seconds * LATENESS, self._cancel_late, loop)
