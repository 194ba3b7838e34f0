"""On Citus, one session for many nodes of a build: dbt closes its connection after each node, and makes a new one for the next.

A new session of the coordinator connects to all other servers again, and each reads the catalog again: a data test of a
millisecond takes 60 of processor time. On one server a session costs a few, and dbt does as always (decision 170).

A session is emptied (`discard all`) before another node gets it, and each statement has the settings that it depends on
(macros/overrides/statement.sql).
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import psycopg2.extensions  # type: ignore[import-untyped]

# the table that `mailmart migrate --citus` makes
IS_DISTRIBUTED = "select pg_catalog.to_regclass('app.workspace_shards') is not null"


def is_distributed(session: psycopg2.extensions.connection) -> bool:
    """Whether the tables of core are distributed over the nodes of a cluster."""
    with session.cursor() as cursor:
        cursor.execute(IS_DISTRIBUTED)
        return bool(cursor.fetchone()[0])


class ReusedConnections:
    """What dbt has closed, and is still open. `should_reuse` is called with the first of them."""

    def __init__(self, should_reuse: Callable[[psycopg2.extensions.connection], bool] = is_distributed) -> None:
        self._should_reuse = should_reuse
        self._reuses: bool | None = None
        # by process: one that is forked must neither use nor end the sessions of its parent
        self._idle: defaultdict[int, list[_ReusedConnection]] = defaultdict(list)
        self._connect = psycopg2.connect

    def install(self) -> None:
        """For dbt in this process, and in those forked from it."""
        psycopg2.connect = self._connect_or_reuse

    def close_all(self, before: str = "select 1") -> None:
        """Closes what is idle, after a last statement in each session."""
        idle = self._idle[os.getpid()]
        while idle:
            session = idle.pop()
            with contextlib.suppress(psycopg2.Error):
                session.run_alone(before)
            session.close_really()

    def keep(self, session: _ReusedConnection) -> bool:
        """Whether the session is kept for the next node. It is as new then."""
        try:
            session.rollback()
            if self._reuses is None:
                self._reuses = self._should_reuse(session)
                session.rollback()
            if self._reuses:
                session.run_alone("discard all")
                session.notices.clear()
        except psycopg2.Error:
            return False
        if self._reuses:
            self._idle[os.getpid()].append(session)
        return self._reuses

    def _connect_or_reuse(self, *args: Any, **options: Any) -> psycopg2.extensions.connection:
        wanted = repr((args, sorted(options.items())))
        idle = self._idle[os.getpid()]
        for session in [session for session in idle if session.wanted == wanted]:
            # another thread may be faster
            with contextlib.suppress(ValueError):
                idle.remove(session)
                try:
                    session.run_alone("select 1")
                except psycopg2.Error:
                    # the server has ended it
                    session.close_really()
                else:
                    return session
        session = self._connect(*args, connection_factory=_ReusedConnection, **options)
        session.wanted, session.reused = wanted, self
        return session


class _ReusedConnection(psycopg2.extensions.connection):  # type: ignore[misc]
    """Is not closed, but used again.

    Attributes:
        wanted: what dbt connected with.
        reused: None while it connects.
    """

    wanted: str = ""
    reused: ReusedConnections | None = None

    def close(self) -> None:
        if self.closed or self.reused is None or not self.reused.keep(self):
            self.close_really()

    def close_really(self) -> None:
        super().close()

    def run_alone(self, statement: str) -> None:
        """Runs a statement outside of a transaction."""
        self.autocommit = True
        with self.cursor() as cursor:
            cursor.execute(statement)
        self.autocommit = False
