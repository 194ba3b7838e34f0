"""The sockets of connections to PostgreSQL: how one is ended by another thread, and how an event loop notices its end."""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress

import psycopg
from psycopg import pq

# of what a socket still has after the other side has closed it
MAX_READS = 1000


def shut_down(pgconn: pq.abc.PGconn) -> None:
    """Shuts down a socket: code that waits for the server's data sees the end of the connection at once. Closes nothing."""
    # the descriptor can be closed meanwhile
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(pgconn.socket)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)


class HangUp:
    """Whether the other side of a socket has closed it, or an error waits on it.

    uvloop calls the reader of such a socket once, and never again. So a reader that has read and waits for more has to look, and
    to read on until libpq finds the end.
    """

    def __init__(self, descriptor: int) -> None:
        self._poll = select.poll()
        # hang-ups and errors are reported whatever is polled for
        self._poll.register(descriptor, 0)

    def __bool__(self) -> bool:
        return bool(self._poll.poll(0))
