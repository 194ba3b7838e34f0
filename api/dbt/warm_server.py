"""dbt that stays ready: it has imported dbt and parsed the project, and forks a process for each command.

`python -m api.dbt.warm_server PARENT_PID FOLDER`. It reads requests from its standard input, one JSON object a line, with
`arguments` and `environment`. On its standard output it writes a line READY once, dbt's lines, and after each command the lines
INVOCATION with dbt's id of it and EXITED with its exit status. It ends when the parent does, or when its input ends.

A process of its own for each command: whatever dbt changes in the parsed project, or leaves behind, is gone with it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from api.dbt.build_process import run_build
from api.dbt.lean_dbt import asks_for_debug_events, is_lean, started_dbt
from api.processes.parent_death import end_with_parent

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

# no line of dbt begins with this character
MARK = "\x1e"
READY = f"{MARK}ready"
INVOCATION = f"{MARK}invocation"
EXITED = f"{MARK}exited"
CANNOT_PARSE = 2


def serve(folder: str) -> int:
    """Parses the project into the folder, and runs the requested commands. Returns the exit status."""
    with started_dbt(_paths(folder), has_debug_events=asks_for_debug_events()):
        manifest = parse(*_paths(folder))
    if manifest is None:
        return CANNOT_PARSE
    freeze_memory()
    _answer(READY)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(manifest, [*request["arguments"], *_paths(folder)], request["environment"])
        _, status = os.waitpid(pid, 0)
        _answer(f"{EXITED} {os.waitstatus_to_exitcode(status)}")
    return 0


def parse(*options: str) -> Manifest | None:
    """Parses the project and compiles its templates. None if dbt cannot parse it; it has said why."""
    from dbt.cli.main import dbtRunner

    from api.dbt.lean_templates import compile_templates_of

    # the static parser has threads, whose locks a fork would copy
    arguments = ["--quiet", "--no-static-parser", "parse", *options]
    sys.argv = ["dbt", *arguments]
    parsed = dbtRunner().invoke(arguments)
    if not parsed.success:
        return None
    manifest: Manifest = parsed.result  # type: ignore[assignment]
    compile_macros(manifest)
    if is_lean():
        compile_templates_of(manifest)
    return manifest


def compile_macros(manifest: Manifest) -> None:
    """Compiles the macros once, for all commands of processes that are forked from this one."""
    from dbt_common.clients.jinja import template_cache

    for macro in manifest.macros.values():
        template_cache.get_node_template(macro)


def freeze_memory() -> None:
    """Before a fork: a collection in a child would look at all that dbt has imported, and copy its pages."""
    gc.collect()
    gc.freeze()


def _run(manifest: Manifest, arguments: list[str], environment: Mapping[str, str]) -> NoReturn:
    from dbt_common.invocation import get_invocation_id

    code = 1
    try:
        end_with_parent(os.getppid())
        os.environ.update(environment)
        code = run_build(arguments, manifest)
        _answer(f"{INVOCATION} {get_invocation_id()}")
    except BaseException:  # noqa: BLE001 - this process ends below, so nobody else prints it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # without the parent's handlers of exit
        os._exit(code)


def _paths(folder: str) -> tuple[str, ...]:
    return ("--target-path", folder, "--log-path", f"{folder}/logs")


def _answer(line: str) -> None:
    # alone on its line, whatever dbt has written last
    sys.stdout.write(f"\n{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    sys.exit(serve(sys.argv[2]))
