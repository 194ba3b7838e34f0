"""Runs dbt in a process of its own, against the settings' database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from api.dbt.profile import dbt_environment
from api.settings import Settings


def dbt_command(*arguments: str, with_parent: bool = False) -> list[str]:
    """The command line of the dbt that is installed beside us: its script's first line would name where that once was.

    `with_parent`: it ends with the process that calls this, also when that one is killed.
    """
    run = "from dbt.cli.main import cli; cli(prog_name='dbt')"
    if with_parent:
        run = f"from api.processes.parent_death import end_with_parent; end_with_parent({os.getpid()}); {run}"
    return [sys.executable, "-c", run, *arguments]


def run_dbt(settings: Settings, arguments: Sequence[str], *, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs dbt to its end; its output goes to ours, or with `quiet` into the result.

    Raises:
        SettingsError: no database is configured.
    """
    return subprocess.run(
        dbt_command(*arguments),
        env={**os.environ, **dbt_environment(settings)},
        cwd=settings.project_root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        check=False,
    )
