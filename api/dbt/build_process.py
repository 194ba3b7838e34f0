"""dbt as a child process of a nightly run. Its exit status shows whether the database refused the build, and why.

`python -m api.dbt.build_process PARENT_PID DBT_ARGUMENT…`. It ends when the parent does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from api.dbt.lean_dbt import asks_for_debug_events, started_dbt, target_folder
from api.processes.end import end_process
from api.processes.parent_death import end_with_parent

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

# dbt's own are 0 (success), 1 (a node failed) and 2 (an error)
ANOTHER_BUILD_IS_RUNNING = 75
CANNOT_CONTINUE = 76
WHOLE_BUILD_IS_NEEDED = 77
# of app.begin_batch()
STATUS_OF_SQLSTATE = {"MM001": ANOTHER_BUILD_IS_RUNNING, "MM002": CANNOT_CONTINUE, "MM005": WHOLE_BUILD_IS_NEEDED}


def build_command(arguments: Sequence[str]) -> list[str]:
    """The command line that runs dbt with these arguments as a child of this process."""
    return [sys.executable, "-m", __name__, str(os.getpid()), *arguments]


def exit_status(error: BaseException | None) -> int:
    """The exit status for the error that ended dbt; 1 for None, because then a node failed."""
    if error is None:
        return 1
    return next((STATUS_OF_SQLSTATE[code] for code in _sqlstates(error) if code in STATUS_OF_SQLSTATE), 2)


def _sqlstates(error: BaseException) -> Iterator[str]:
    """The SQLSTATEs in a chain of exceptions: dbt wraps the driver's."""
    cause: BaseException | None = error
    while cause is not None:
        code = getattr(cause, "pgcode", None)
        if isinstance(code, str):
            yield code
        cause = cause.__cause__ or cause.__context__


def run_build(arguments: list[str], manifest: Manifest | None = None) -> int:
    """Runs a dbt command in this process, and returns its exit status. With a manifest, dbt does not parse the project.

    Of dbt's files in JSON, only the results are written, which `dbt retry` reads. The manifest, which dbt would write
    twice, takes as long as twenty nodes. The log file has no debug events, unless the environment asks for them.
    """
    from dbt.artifacts.schemas.run import RunExecutionResult
    from dbt.cli.main import dbtRunner

    # dbt passes the command line on to the macros
    sys.argv = ["dbt", *arguments]
    level = () if asks_for_debug_events() else ("--log-level-file", "info")
    result = dbtRunner(manifest=manifest).invoke(["--no-write-json", *level, *arguments])
    folder = target_folder(arguments)
    if folder is not None and isinstance(result.result, RunExecutionResult):
        result.result.write(str(folder / "run_results.json"))
    return 0 if result.success else exit_status(result.exception)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    with started_dbt(sys.argv[2:], has_debug_events=asks_for_debug_events()):
        code = run_build(sys.argv[2:])
    end_process(code)
