"""A bound on what is said with another machine, however slowly it says it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

SECONDS_BETWEEN_TRIES = 0.1


@contextmanager
def ended_after(seconds: float, current: Callable[[], socket.socket | None]) -> Iterator[threading.Event]:
    """Shuts the block's socket down after so many seconds, and sets the event that it gives.

    A socket's own timeout begins again with every byte. The socket is asked for at that moment, because it is another one once
    TLS has begun.
    """
    is_over, is_done = threading.Event(), threading.Event()

    def watch() -> None:
        wait = seconds
        while not is_done.wait(wait):
            is_over.set()
            wait = SECONDS_BETWEEN_TRIES
            with suppress(OSError):
                if (found := current()) is not None:
                    # not the SSL socket's own, which would go on in plain text
                    socket.socket.shutdown(found, socket.SHUT_RDWR)

    watcher = threading.Thread(target=watch, name="deadline", daemon=True)
    watcher.start()
    try:
        yield is_over
    finally:
        is_done.set()
        watcher.join()
