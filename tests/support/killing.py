"""Kills a process of mailmart at a known point: while it waits for a lock that the test holds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import psycopg

from api.settings import Settings
from tests.support.citus import is_distributed
from tests.support.waiting import wait_until


def kill_waiting(
    settings: Settings, code: str, blocking: psycopg.Connection, is_ready: Callable[[], object] = lambda: True
) -> None:
    """Runs Python code, which finds the settings in its environment, and kills it (SIGKILL) when `blocking` blocks it.

    `is_ready`: what else has to be true before. `blocking` is in a transaction with the lock, and still is afterwards.
    When this returns, no session waits for the lock any more.
    """
    environment = {**os.environ, "MAILMART_DATABASE_URL": str(settings.database_url), "MAILMART_HOME": str(settings.home)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    pid = blocking.info.backend_pid

    def is_blocked() -> bool:
        waiting = "select exists (select from pg_locks where not granted and %s = any(pg_blocking_pids(pid)))"
        row = blocking.execute(waiting, (pid,))
        return row.fetchone() == (True,)

    try:
        wait_until(lambda: is_ready() and is_blocked(), "the process waits for the lock")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait(30)
    wait_until(lambda: not is_blocked(), "PostgreSQL ends the killed process's session")


def lock_rows(connection: psycopg.Connection, table: str, condition: str = "true") -> None:
    """Makes who changes these rows wait. On Citus, who changes any row of a table of core."""
    if is_distributed() and table.startswith("core."):
        # a lock of the coordinator's table; Citus locks rows of one workspace only
        connection.execute(f"lock table {table} in exclusive mode".encode())
    else:
        connection.execute(f"select from {table} where {condition} for update".encode())
