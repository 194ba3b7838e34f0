"""Waits with a timeout."""

from __future__ import annotations

import time
from collections.abc import Callable

from api.db.connection import connect
from api.settings import Settings


def wait_until(is_so: Callable[[], object], what: str, seconds: float = 90) -> None:
    """Calls `is_so` ten times a second until it is true; fails the test after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_so():
            return
        time.sleep(0.1)
    raise AssertionError(f"timed out after {seconds:g} s: {what}")


def wait_for_waiting(settings: Settings) -> None:
    """Waits until a build waits for a lock that the test holds."""
    with connect(settings, None) as connection:
        connection.autocommit = True
        # only in this database: other tests' sessions on the same server may wait for locks, too
        waits = """
            select from pg_locks
            inner join pg_database on pg_locks.database = pg_database.oid
            where not granted and locktype = 'relation' and datname = current_database()
        """
        wait_until(lambda: connection.execute(waits).fetchone() is not None, "a build waits for the lock")
