"""The command `dbt`, started faster: `python -m api.dbt.command DBT_ARGUMENT…`."""

from __future__ import annotations

import sys

from api.dbt.lean_dbt import started_dbt

if __name__ == "__main__":
    with started_dbt(sys.argv[1:], has_debug_events=True):
        from dbt.cli.main import cli

        # dbt passes the command line on to the macros
        sys.argv[0] = "dbt"
        cli(prog_name="dbt")
