"""Runs dbt in a process of its own, against the settings' database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

from api.dbt.build_report import ARGUMENTS, BuildReport
from api.dbt.profile import dbt_environment, target_path
from api.settings import Settings

# dbt cancels its queries first, which a server that does not answer can keep waiting
SECONDS_TO_STOP = 20.0


def dbt_command(*arguments: str) -> list[str]:
    """The command line of dbt. It runs the installed module: the path in the `dbt` script breaks if the environment is moved."""
    return [sys.executable, "-m", "api.dbt.command", *arguments]


def run_dbt(settings: Settings, arguments: Sequence[str], *, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs dbt to its end. Its output goes to this process's output or, with `quiet`, into the result.

    Raises:
        SettingsError: no database is configured.
    """
    return subprocess.run(
        dbt_command(*arguments),
        env={**os.environ, **dbt_environment(settings), "DBT_TARGET_PATH": target_path(settings)},
        cwd=settings.project_root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        check=False,
    )


def report_build(settings: Settings, arguments: Sequence[str], report: BuildReport) -> int:
    """Runs dbt to its end, and reads its events into `report` while it runs. Returns its exit status.

    Ctrl-C in a terminal reaches dbt, too; SIGTERM is forwarded as Ctrl-C. Both wait until dbt has cancelled its queries.

    Raises:
        SettingsError: no database is configured.
        KeyboardInterrupt: a signal has ended the build.
    """
    process = subprocess.Popen(
        dbt_command(*arguments, *ARGUMENTS),
        env={**os.environ, **dbt_environment(settings), "DBT_TARGET_PATH": target_path(settings)},
        cwd=settings.project_root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )

    def read() -> None:
        for line in process.stdout or ():
            if line.strip():
                report.read(line)

    reader = threading.Thread(target=read, name="dbt-output", daemon=True)
    reader.start()

    def forward_as_interrupt(*_: object) -> None:
        process.send_signal(signal.SIGINT)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, forward_as_interrupt)
    try:
        process.wait()
    except KeyboardInterrupt:
        _stop(process)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        reader.join(SECONDS_TO_STOP)
    return process.returncode


def _stop(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
