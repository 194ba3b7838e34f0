"""Waits, bounded, until something is so."""

from __future__ import annotations

import time
from collections.abc import Callable

from api.db.connection import connect
from api.settings import Settings


def wait_until(is_so: Callable[[], object], what: str, seconds: float = 90) -> None:
    """Looks ten times a second; fails the test where it never comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_so():
            return
        time.sleep(0.1)
    raise AssertionError(f"within {seconds:g} s it did not come: {what}")


def wait_for_waiting(settings: Settings) -> None:
    """Until a build waits for a lock that the test holds."""
    with connect(settings, None) as connection:
        connection.autocommit = True
        # of this database: another test's, on the same server, may have its own that wait
        waits = """
            select from pg_locks
            inner join pg_database on pg_locks.database = pg_database.oid
            where not granted and locktype = 'relation' and datname = current_database()
        """
        wait_until(lambda: connection.execute(waits).fetchone() is not None, "a build that waits for the lock")
