"""Leaves out what dbt does for nobody, as in a nightly run (`api/dbt/lean_dbt.py`), and what it does again for each command."""

from __future__ import annotations

import importlib
import os
from typing import Any

from dbt.contracts.graph.nodes import ParsedNode
from dbt.plugins.manager import PluginManager

from api.dbt import lean_dbt
from api.dbt.reused_connections import ReusedConnections
from tests.support.dbt import KEEPS_SQL

# dbt connects again for each node, each time with a password's hash and an empty cache of the catalog
REUSED = ReusedConnections()


def leave_out_what_nobody_reads() -> None:
    """For this process and those forked from it. Commands with `--debug` or a log file may not run in them."""
    lean_dbt.leave_out_what_nobody_reads()
    lean_dbt.leave_out_debug_events()
    REUSED.install()
    _import_once()
    _write_no_sql()


def _import_once() -> None:
    """What the commands import, and the plug-ins, for which dbt looks in all folders of packages."""
    for command in ("build", "retry", "run_operation", "show"):
        importlib.import_module(f"dbt.task.{command}")
    found = PluginManager.get_prefixed_modules()  # type: ignore[no-untyped-call]
    PluginManager.get_prefixed_modules = classmethod(lambda cls: found)  # type: ignore[method-assign, assignment]


def _write_no_sql() -> None:
    """Two files for each node: 600 in a build. A test that reads them asks for them: see run_dbt()."""
    write = ParsedNode.write_node

    def write_if_asked(node: ParsedNode, project_root: str, compiled_path: Any, compiled_code: str) -> None:
        if os.environ.get(KEEPS_SQL):
            write(node, project_root, compiled_path, compiled_code)

    ParsedNode.write_node = write_if_asked  # type: ignore[method-assign, assignment]


def close_connections() -> None:
    """At the end of a command. A test may look at the server's statistics as soon as it has ended."""
    REUSED.close_all("select pg_stat_force_next_flush()")
