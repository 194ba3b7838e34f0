"""Work that waits at most a second for a lock, and is repeated until it gets all locks: others never wait long behind it."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg

LOCK_ERRORS = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
SECONDS_BETWEEN_ATTEMPTS = 0.5


def retry_while_locked(
    work: Callable[[], None], max_seconds: float, on_wait: Callable[[psycopg.Error], None] = lambda error: None
) -> None:
    """Runs the work, and repeats all of it until it gets its locks. `on_wait` gets the error of each failed attempt.

    Raises:
        LockNotAvailable, DeadlockDetected: there was no free lock within `max_seconds`.
    """
    deadline = time.monotonic() + max_seconds
    while True:
        try:
            return work()
        except LOCK_ERRORS as error:
            if time.monotonic() > deadline:
                raise
            on_wait(error)
        time.sleep(SECONDS_BETWEEN_ATTEMPTS)


def lock_problem(error: psycopg.Error) -> str:
    """PostgreSQL's error about the lock, in one line."""
    return str(error).splitlines()[-1].strip()
