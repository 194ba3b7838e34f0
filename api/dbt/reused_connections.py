"""One session for many nodes of a build: dbt closes its connection after each node, and makes a new one for the next.

A new session reads the catalog again, which is more than half of PostgreSQL's time in a build with nothing new. On Citus it also
connects to all other servers, and a data test of a millisecond takes 60 of processor time.

A session is emptied (`discard all`) before another node gets it, and each statement has the settings that it depends on
(macros/overrides/statement.sql).
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import psycopg2.extensions  # type: ignore[import-untyped]


class ReusedConnections:
    """What dbt has closed, and is still open."""

    def __init__(self) -> None:
        # by process: one that is forked must neither use nor end the sessions of its parent
        self._idle: defaultdict[int, list[_ReusedConnection]] = defaultdict(list)
        self._connect = psycopg2.connect

    def install(self) -> None:
        """For dbt in this process, and in those forked from it."""
        psycopg2.connect = self._connect_or_reuse

    def close_all(self, before: str | None = None) -> None:
        """Closes what is idle, after a last statement in each session."""
        idle = self._idle[os.getpid()]
        while idle:
            session = idle.pop()
            if before is not None:
                with contextlib.suppress(psycopg2.Error):
                    session.run_alone(before)
            session.close_really()

    def keep(self, session: _ReusedConnection) -> bool:
        """Whether the session is kept for the next node. It is as new then."""
        try:
            session.rollback()
            session.run_alone("discard all")
            session.notices.clear()
        except psycopg2.Error:
            return False
        self._idle[os.getpid()].append(session)
        return True

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
