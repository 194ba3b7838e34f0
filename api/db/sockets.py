"""Ends a connection to PostgreSQL from another thread than the one that waits for it."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import psycopg
from psycopg import pq


def shut_down(pgconn: pq.abc.PGconn) -> None:
    """Makes whoever waits for the server's data see the end of the connection at once. Closes nothing."""
    # the descriptor can be closed meanwhile
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(pgconn.socket)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)
