"""The direction of imports, and the command that prints their graph."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from api.settings import PROJECT_ROOT
from tests.lint.import_graph import ImportGraph


def test_packages_import_only_packages_below_them() -> None:
    """The order is the contract in pyproject.toml."""
    # in a process of its own: it disables the loggers of this one
    program = Path(sys.executable).parent / "lint-imports"
    command = [str(program), "--no-logo", "--cache-dir", "build/import-linter"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_graph_of_a_cycle() -> None:
    graph = ImportGraph.of({("a", "b"): 3, ("b", "c"): 2, ("a", "c"): 1, ("c", "a"): 1, ("d", "a"): 1})
    assert graph.back_up == {("c", "a")}
    assert graph.floors == {"d": 4, "a": 3, "b": 2, "c": 1}
