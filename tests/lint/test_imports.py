"""The direction of imports, and the command that prints their graph."""

from __future__ import annotations

from importlinter.cli import lint_imports

from api.settings import PROJECT_ROOT
from tests.lint.import_graph import ImportGraph


def test_packages_import_only_packages_below_them() -> None:
    """The order is the contract in pyproject.toml; what breaks it is printed."""
    config, cache = PROJECT_ROOT / "pyproject.toml", PROJECT_ROOT / "build" / "import-linter"
    assert lint_imports(config_filename=str(config), cache_dir=str(cache)) == 0


def test_the_graph_of_a_cycle() -> None:
    graph = ImportGraph.of({("a", "b"): 3, ("b", "c"): 2, ("a", "c"): 1, ("c", "a"): 1, ("d", "a"): 1})
    assert graph.back_up == {("c", "a")}
    assert graph.floors == {"d": 4, "a": 3, "b": 2, "c": 1}
