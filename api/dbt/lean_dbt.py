"""Leaves out what dbt does for nobody, which is a third of the processor time of a build on little data.

It replaces functions of dbt. So it does nothing with a release of dbt other than those with which the tests of this project have
run: then dbt is as it is, and a build takes longer. Nearly all builds of the tests run with it. The command `dbt` itself knows
nothing of it.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

# packages whose functions are replaced, and releases of them; tests/unit/dbt/test_lean_dbt.py fails if those of requirements.lock
# are not among them
PACKAGES = ("dbt-core", "dbt-common", "mashumaro")
TESTED = frozenset({("1.11.16", "1.39.0", "3.14")})
# those of dbt that ask for its debug events
LEVELS = ("DBT_LOG_LEVEL", "DBT_LOG_LEVEL_FILE", "DBT_ENGINE_LOG_LEVEL", "DBT_ENGINE_LOG_LEVEL_FILE")
DEBUG = frozenset({"-d", "--debug", "--log-level=debug", "--log-level-file=debug"})
DEBUG_LEVELS = frozenset({("--log-level", "debug"), ("--log-level-file", "debug")})
# new objects before a collection: Python's own are 700, 10 and 10
THRESHOLDS = (50_000, 20, 20)
# what a statement can begin with, and its first word
BLANKS = re.compile(r"(?:\s+|--[^\n]*\n|/\*.*?\*/)*", re.DOTALL)
WITH = re.compile(r"(with)\b(?:(\s+)(recursive)\b)?", re.IGNORECASE)


def installed() -> tuple[str, ...]:
    """The releases of the packages."""
    return tuple(version(package) for package in PACKAGES)


def is_lean() -> bool:
    """Whether functions of dbt are replaced."""
    return installed() in TESTED


@contextmanager
def started_dbt(arguments: Sequence[str], *, has_debug_events: bool) -> Iterator[None]:
    """Imports dbt for the command of this process, or for the commands of those that it forks.

    `arguments` are dbt's: compiled templates and JSON schemas are read from its target folder, and written at the end. The first
    command for a folder uses what was made with the installation.

    Nearly all that dbt imports and parses stays, and the garbage collector looks at it again and again: so not while it is
    imported, and later less often.
    """
    gc.disable()
    if is_lean():
        from api.dbt.lean_serialization import generate_methods_when_they_are_called

        generate_methods_when_they_are_called()
    importlib.import_module("dbt.cli.main")
    from api.dbt.lean_schemas import read_schemas, write_schemas
    from api.dbt.lean_templates import read_templates, write_templates

    folder = target_folder(arguments) if is_lean() else None
    if is_lean():
        leave_out_what_nobody_reads()
        _reuse_connections()
        if not has_debug_events:
            leave_out_debug_events()
    if folder is not None:
        from api.dbt.installed_parse import INSTALLED, use_installed_parse

        use_installed_parse(folder, INSTALLED)
        for read in (read_templates, read_schemas):
            if not read(folder):
                read(INSTALLED)
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.enable()
    try:
        yield
    finally:
        if folder is not None:
            write_templates(folder)
            write_schemas(folder)


def target_folder(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where dbt writes what it makes, if the arguments or the environment say it, or which project it is of."""
    folder = _option(arguments, "--target-path") or environment.get("DBT_TARGET_PATH")
    if folder:
        return Path(folder)
    project = _option(arguments, "--project-dir") or environment.get("DBT_PROJECT_DIR")
    return Path(project, "target") if project else None


def _option(arguments: Sequence[str], name: str) -> str | None:
    """The value of an option, as dbt's command line has it: after a blank or after an equals sign."""
    apart = (value for option, value in pairwise(arguments) if option == name)
    return next(apart, None) or next((each.partition("=")[2] for each in arguments if each.startswith(f"{name}=")), None)


def leave_out_what_nobody_reads() -> None:
    """For this process and those forked from it."""
    from api.dbt.lean_context import make_macros_when_they_are_called
    from api.dbt.lean_schemas import make_schemas_once
    from api.dbt.lean_templates import compile_templates_once

    _make_types_of_columns_once()
    _find_the_first_word_of_a_statement_alone()
    _leave_out_diagnostics()
    make_macros_when_they_are_called()
    compile_templates_once()
    make_schemas_once()


def _reuse_connections() -> None:
    from api.dbt.reused_connections import ReusedConnections

    connections = ReusedConnections()
    connections.install()
    # else the server finds out by itself
    atexit.register(connections.close_all)


def leave_out_debug_events() -> None:
    """dbt makes a protobuf message, and another one around it, of each event, and then looks whether somebody wants it.

    The commands of this process, and those forked from it, may not have a log file with debug events, nor `--debug`.
    """
    from dbt_common.events.base_types import BaseEvent, DebugLevel
    from dbt_common.events.event_manager import EventManager

    make, fire = BaseEvent.__init__, EventManager.fire_event

    def make_unless_debug(event: BaseEvent, *args: Any, **kwargs: Any) -> None:
        if not isinstance(event, DebugLevel):
            make(event, *args, **kwargs)

    def fire_unless_debug(manager: EventManager, e: BaseEvent, *args: Any, **kwargs: Any) -> None:
        if not isinstance(e, DebugLevel):
            fire(manager, e, *args, **kwargs)

    BaseEvent.__init__ = make_unless_debug  # type: ignore[assignment, method-assign]
    EventManager.fire_event = fire_unless_debug  # type: ignore[assignment, method-assign]


def asks_for_debug_events(arguments: Sequence[str] = (), environment: Mapping[str, str] = os.environ) -> bool:
    """Whether dbt's arguments or the environment ask for them, on the console or in the log file."""
    debug = environment.get("DBT_DEBUG", environment.get("DBT_ENGINE_DEBUG", "")).lower()
    return (
        debug in ("1", "true", "t", "yes", "y", "on")
        or any(environment.get(level) == "debug" for level in LEVELS)
        or not DEBUG.isdisjoint(arguments)
        or any((option, value) in DEBUG_LEVELS for option, value in pairwise(arguments))
    )


def _make_types_of_columns_once() -> None:
    """dbt makes the types of a query's columns, and with them a reader of dates in words, even of one without a result."""
    import agate  # type: ignore[import-untyped]
    from dbt_common.clients import agate_helper

    make = lru_cache(1000)(agate_helper.build_type_tester)

    def make_once(text_columns: Iterable[str], string_null_values: Iterable[str] | None = ("null", "")) -> agate.TypeTester:
        return make(tuple(text_columns), None if string_null_values is None else tuple(string_null_values))

    agate_helper.build_type_tester = make_once
    agate_helper.empty_table = lru_cache(1)(agate_helper.empty_table)


def _leave_out_diagnostics() -> None:
    """A summary of the graph, for which dbt writes each node twice; and for a flag of behaviour, the module that has set it."""
    from dbt.compilation import Linker
    from dbt_common.behavior_flags import BehaviorFlagRendered

    Linker.get_graph_summary = lambda linker, manifest: {}  # type: ignore[method-assign, assignment]
    BehaviorFlagRendered._default_source = staticmethod(lambda: "")  # type: ignore[method-assign]


def _find_the_first_word_of_a_statement_alone() -> None:
    """dbt puts ephemeral models behind a statement's `with`, and for that makes a tree of the whole statement."""
    import sqlparse
    from sqlparse.sql import Statement, Token
    from sqlparse.tokens import Keyword, Text, Whitespace

    def parse(sql: str, encoding: str | None = None) -> tuple[Any, ...]:
        word = first_word(sql)
        parts: list[tuple[Any, str | None]] = [(Text, sql)]
        if word is not None:
            before, after = sql[: word.start()], sql[word.end() :]
            parts = [(Text, before), (Keyword, word[1]), (Whitespace, word[2]), (Keyword, word[3]), (Text, after)]
        tokens = [Token(kind, text) for kind, text in parts if text]  # type: ignore[no-untyped-call]
        return (Statement(tokens),)  # type: ignore[no-untyped-call]

    sqlparse.parse = parse


def first_word(sql: str) -> re.Match[str] | None:
    """`with`, and `recursive` after it, if a statement begins with it."""
    blanks = BLANKS.match(sql)
    return WITH.match(sql, blanks.end() if blanks is not None else 0)
