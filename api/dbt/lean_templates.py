"""Jinja templates that are compiled once, and kept in a file: dbt compiles those of all macros and nodes anew in each process.

Compiling a template takes two milliseconds; a file with all of a project's is read in twenty. It replaces a function of dbt: see
lean_dbt.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

from dbt_common.clients.jinja import MacroFuzzEnvironment, get_template

from api.dbt.kept_files import file_name, read_kept, write_kept

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

# A project has a thousand. What no command needs any more is left out of the file if it has more.
MAX_KEPT = 4000
# by the name of the environment's class and the template
CODE: dict[tuple[str, str], CodeType] = {}
USED: set[tuple[str, str]] = set()
NEW: set[tuple[str, str]] = set()


def compile_templates_once() -> None:
    """Each when it is first used."""
    compile_ = MacroFuzzEnvironment.compile

    def compile_once(environment: MacroFuzzEnvironment, source: Any, *args: Any, **options: Any) -> Any:
        if not isinstance(source, str) or args or options:
            return compile_(environment, source, *args, **options)
        key = type(environment).__qualname__, source
        if key not in CODE:
            CODE[key] = compile_(environment, source)
            NEW.add(key)
        USED.add(key)
        return CODE[key]

    MacroFuzzEnvironment.compile = compile_once  # type: ignore[method-assign, assignment]


def read_templates(folder: Path) -> bool:
    """Reads those that an earlier command has written to the folder. False if there are none."""
    kept = read_kept(folder / _file_name())
    if kept is None:
        return False
    CODE.update(marshal.loads(kept))  # noqa: S302 - who can write to this folder can change the project's macros
    return True


def write_templates(folder: Path) -> None:
    """Writes all, if this process has compiled one."""
    if not NEW:
        return
    write_kept(folder / _file_name(), marshal.dumps(CODE if len(CODE) <= MAX_KEPT else {key: CODE[key] for key in USED}))
    NEW.clear()


def _file_name() -> str:
    return file_name("templates", ("jinja2", "dbt-core", "dbt-common"))


def compile_templates_of(manifest: Manifest) -> None:
    """Compiles those of the nodes, their hooks, and the arguments of their tests."""
    from dbt.artifacts.resources.v1.config import NodeConfig
    from dbt.contracts.graph.nodes import GenericTestNode

    for node in manifest.nodes.values():
        get_template(getattr(node, "raw_code", ""), {})
        if isinstance(node, GenericTestNode):
            for value in _texts(node.test_metadata.kwargs):
                get_template(value, {}, native=True)
        elif isinstance(node.config, NodeConfig):
            for hook in (*node.config.pre_hook, *node.config.post_hook):
                get_template(hook.sql, {})


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
