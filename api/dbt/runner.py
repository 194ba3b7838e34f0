"""Runs dbt in a process of its own, against the settings' database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from api.dbt.profile import dbt_environment
from api.settings import Settings


def dbt_command(*arguments: str) -> list[str]:
    """The command line of dbt. It runs the installed module: the path in the `dbt` script breaks if the environment is moved."""
    return [sys.executable, "-c", "from dbt.cli.main import cli; cli(prog_name='dbt')", *arguments]


def run_dbt(settings: Settings, arguments: Sequence[str], *, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs dbt to its end. Its output goes to this process's output or, with `quiet`, into the result.

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
