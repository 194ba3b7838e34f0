"""Leaves out what dbt does for nobody: on little data, a fifth of a build's processor time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import agate  # type: ignore[import-untyped]
import sqlparse
from dbt_common.clients import agate_helper
from dbt_common.events.base_types import BaseEvent, DebugLevel
from dbt_common.events.event_manager import EventManager
from sqlparse.engine import FilterStack


def leave_out_what_nobody_reads() -> None:
    """For this process and those forked from it. Commands with `--debug` or a log file may not run in them."""
    _leave_out_debug_events()
    _make_types_of_columns_once()
    _find_the_first_word_of_a_statement_alone()


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
    """dbt makes the types of a query's columns, and with them a reader of dates in words, for each query."""
    make = lru_cache(1000)(agate_helper.build_type_tester)

    def make_once(text_columns: Iterable[str], string_null_values: Iterable[str] | None = ("null", "")) -> agate.TypeTester:
        return make(tuple(text_columns), None if string_null_values is None else tuple(string_null_values))

    agate_helper.build_type_tester = make_once


def _find_the_first_word_of_a_statement_alone() -> None:
    """dbt puts ephemeral models behind a statement's `with`, and for that makes a tree of the whole statement."""

    def parse(sql: str, encoding: str | None = None) -> tuple[Any, ...]:
        return tuple(FilterStack().run(sql, encoding))  # type: ignore[no-untyped-call]

    sqlparse.parse = parse
