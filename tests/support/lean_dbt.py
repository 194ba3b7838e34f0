"""Leaves out what dbt does for nobody, as in a nightly run (`api/dbt/lean_dbt.py`), and what it does again for each command."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import psycopg2.extensions  # type: ignore[import-untyped]
from dbt.plugins.manager import PluginManager

from api.dbt import lean_dbt

IDLE: list[_ReusedConnection] = []


def leave_out_what_nobody_reads() -> None:
    """For this process and those forked from it. Commands with `--debug` or a log file may not run in them."""
    lean_dbt.leave_out_what_nobody_reads()
    lean_dbt.leave_out_debug_events()
    _reuse_connections()
    _import_once()


def _import_once() -> None:
    """What the commands import, and the plug-ins, for which dbt looks in all folders of packages."""
    for command in ("build", "retry", "run_operation", "show"):
        importlib.import_module(f"dbt.task.{command}")
    found = PluginManager.get_prefixed_modules()  # type: ignore[no-untyped-call]
    PluginManager.get_prefixed_modules = classmethod(lambda cls: found)  # type: ignore[method-assign, assignment]


class _ReusedConnection(psycopg2.extensions.connection):  # type: ignore[misc]
    """Is not closed, but used again."""

    def close(self) -> None:
        try:
            self.rollback()
        except psycopg2.Error:
            super().close()
        else:
            IDLE.append(self)

    def close_really(self) -> None:
        with contextlib.suppress(psycopg2.Error), self.cursor() as cursor:
            # a test may look at the server's statistics as soon as the command has ended
            cursor.execute("select pg_stat_force_next_flush()")
            self.rollback()
        super().close()

    def forget(self) -> None:
        """Makes it a new session, as a pooler does."""
        self.autocommit = True
        with self.cursor() as cursor:
            cursor.execute("discard all")
        self.autocommit = False
        self.notices.clear()


def _reuse_connections() -> None:
    """dbt connects again for each node, each time with a password's hash and an empty cache of the catalog."""
    connect = psycopg2.connect

    def reuse_or_connect(*args: Any, **options: Any) -> psycopg2.extensions.connection:
        while IDLE:
            connection = IDLE.pop()
            try:
                connection.forget()
            except psycopg2.Error:
                connection.close_really()
            else:
                return connection
        return connect(*args, connection_factory=_ReusedConnection, **options)

    psycopg2.connect = reuse_or_connect


def close_connections() -> None:
    """At the end of a command."""
    while IDLE:
        IDLE.pop().close_really()
