"""Leaves out what dbt does for nobody: on little data, a fifth of a build's processor time."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import agate  # type: ignore[import-untyped]
import psycopg2  # type: ignore[import-untyped]
import psycopg2.extensions  # type: ignore[import-untyped]
import sqlparse
from dbt.compilation import Linker
from dbt.plugins.manager import PluginManager
from dbt_common.behavior_flags import BehaviorFlagRendered
from dbt_common.clients import agate_helper
from dbt_common.events.base_types import BaseEvent, DebugLevel
from dbt_common.events.event_manager import EventManager
from sqlparse.sql import Statement, Token
from sqlparse.tokens import Keyword, Text, Whitespace

from tests.support.lean_context import compile_templates_once, make_macros_when_they_are_called

# what a statement can begin with, and its first word
BLANKS = re.compile(r"(?:\s+|--[^\n]*\n|/\*.*?\*/)*", re.DOTALL)
WITH = re.compile(r"(with)\b(?:(\s+)(recursive)\b)?", re.IGNORECASE)
IDLE: list[_ReusedConnection] = []


def leave_out_what_nobody_reads() -> None:
    """For this process and those forked from it. Commands with `--debug` or a log file may not run in them."""
    _leave_out_debug_events()
    _make_types_of_columns_once()
    _find_the_first_word_of_a_statement_alone()
    _reuse_connections()
    _leave_out_diagnostics()
    _import_once()
    make_macros_when_they_are_called()
    compile_templates_once()


def _leave_out_debug_events() -> None:
    """dbt makes a protobuf message, and another one around it, of each event, and then looks whether somebody wants it."""
    make, fire = BaseEvent.__init__, EventManager.fire_event

    def make_unless_debug(event: BaseEvent, *args: Any, **kwargs: Any) -> None:
        if not isinstance(event, DebugLevel):
            make(event, *args, **kwargs)

    def fire_unless_debug(manager: EventManager, e: BaseEvent, *args: Any, **kwargs: Any) -> None:
        if not isinstance(e, DebugLevel):
            fire(manager, e, *args, **kwargs)

    BaseEvent.__init__ = make_unless_debug  # type: ignore[assignment, method-assign]
    EventManager.fire_event = fire_unless_debug  # type: ignore[assignment, method-assign]


def _make_types_of_columns_once() -> None:
    """dbt makes the types of a query's columns, and with them a reader of dates in words, even of one without a result."""
    make = lru_cache(1000)(agate_helper.build_type_tester)

    def make_once(text_columns: Iterable[str], string_null_values: Iterable[str] | None = ("null", "")) -> agate.TypeTester:
        return make(tuple(text_columns), None if string_null_values is None else tuple(string_null_values))

    agate_helper.build_type_tester = make_once
    agate_helper.empty_table = lru_cache(1)(agate_helper.empty_table)


def _leave_out_diagnostics() -> None:
    """A summary of the graph, for which dbt writes each node twice; and for a flag of behaviour, the module that has set it."""
    Linker.get_graph_summary = lambda linker, manifest: {}  # type: ignore[method-assign, assignment]
    BehaviorFlagRendered._default_source = staticmethod(lambda: "")  # type: ignore[method-assign]


def _import_once() -> None:
    """What the commands import, and the plug-ins, for which dbt looks in all folders of packages."""
    for command in ("build", "retry", "run_operation", "show"):
        importlib.import_module(f"dbt.task.{command}")
    found = PluginManager.get_prefixed_modules()  # type: ignore[no-untyped-call]
    PluginManager.get_prefixed_modules = classmethod(lambda cls: found)  # type: ignore[method-assign, assignment]


def _find_the_first_word_of_a_statement_alone() -> None:
    """dbt puts ephemeral models behind a statement's `with`, and for that makes a tree of the whole statement."""

    def parse(sql: str, encoding: str | None = None) -> tuple[Any, ...]:
        begin = BLANKS.match(sql)
        assert begin is not None
        word = WITH.match(sql, begin.end())
        parts: list[tuple[Any, str | None]] = [(Text, sql)]
        if word is not None:
            rest = sql[word.end() :]
            parts = [(Text, begin[0]), (Keyword, word[1]), (Whitespace, word[2]), (Keyword, word[3]), (Text, rest)]
        tokens = [Token(kind, text) for kind, text in parts if text]  # type: ignore[no-untyped-call]
        return (Statement(tokens),)  # type: ignore[no-untyped-call]

    sqlparse.parse = parse


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
