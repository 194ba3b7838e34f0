"""A deadline for a whole exchange over a socket, however slowly the other side sends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

RETRY_SECONDS = 0.1


@contextmanager
def shut_down_after(seconds: float, current: Callable[[], socket.socket | None]) -> Iterator[threading.Event]:
    """Shuts the socket down if the block takes longer than some seconds, and sets the event that it yields.

    The timeout of a socket restarts with every byte. `current` returns the socket; it is called at that moment, because TLS
    replaces the socket.
    """
    is_timed_out, is_done = threading.Event(), threading.Event()

    def watch() -> None:
        wait = seconds
        while not is_done.wait(wait):
            is_timed_out.set()
            wait = RETRY_SECONDS
            with suppress(OSError):
                if (current_socket := current()) is not None:
                    # not SSLSocket.shutdown, after which the connection would continue in plain text
                    socket.socket.shutdown(current_socket, socket.SHUT_RDWR)

    watcher = threading.Thread(target=watch, name="deadline", daemon=True)
    watcher.start()
    try:
        yield is_timed_out
    finally:
        is_done.set()
        watcher.join()
