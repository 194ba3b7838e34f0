"""The command `dbt`, started faster: `python -m api.dbt.command DBT_ARGUMENT…`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from api.dbt.lean_dbt import asks_for_debug_events, started_dbt
from api.processes.end import end_process


def without_debug_events(arguments: Sequence[str]) -> list[str]:
    """The arguments, so that dbt's log file has what its console has, unless they say what it has."""
    has_level = any(each.partition("=")[0] == "--log-level-file" for each in arguments)
    return [*(() if has_level else ("--log-level-file", "info")), *arguments]


if __name__ == "__main__":
    own = sys.argv[1:]
    has_debug_events = asks_for_debug_events(own)
    try:
        with started_dbt(own, has_debug_events=has_debug_events):
            from dbt.cli.main import cli

            # dbt passes the command line on to the macros
            sys.argv[0] = "dbt"
            cli(own if has_debug_events else without_debug_events(own), prog_name="dbt")
    except SystemExit as ended:
        end_process(ended.code)
