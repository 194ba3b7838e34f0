"""Runs dbt as a user does, in a process of its own, against a test's database."""

from __future__ import annotations

import os
import subprocess

from api.dbt.profile import dbt_environment
from api.settings import Settings
from tests.support.forked_dbt import forked_dbt_command, run_forked

# a variable of a command's environment: with it, dbt writes the SQL of its nodes into the target folder
KEEPS_SQL = "MAILMART_TEST_KEEPS_SQL"
# what is published has passed its data tests
WITHOUT_UNIT_TESTS = ("build", "--exclude-resource-type", "unit_test")
# seeds and models alone, which takes a third less and publishes nothing
WITHOUT_TESTS = (*WITHOUT_UNIT_TESTS, "--exclude-resource-type", "test")
# for a database whose models are built already: those that hold rows. Seeds and views, two thirds of the nodes, are the same.
ROWS = (*WITHOUT_TESTS, "--select", "path:models/core")


def run_dbt(
    settings: Settings,
    command: str,
    *arguments: str,
    target_path: str = "target",
    check: bool = True,
    keeps_sql: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs a dbt command to its end. With `check`, a failure fails the test and shows dbt's output.

    With `keeps_sql`, the SQL of the nodes is in the target folder. Otherwise no test reads it, and it is not written.
    """
    environment = _environment(settings, keeps_sql=keeps_sql)
    completed = run_forked(_arguments(settings, command, arguments, target_path), environment, settings.project_root, timeout=240)
    if check and completed.returncode != 0:
        raise AssertionError(f"dbt {command} failed:\n{completed.stdout}\n{completed.stderr}")
    return completed


def dbt_process(
    settings: Settings, command: str, *arguments: str, target_path: str = "target", keeps_sql: bool = False
) -> subprocess.Popen[bytes]:
    """Starts a dbt command in a process group of its own, so that a test can kill it at any moment."""
    return subprocess.Popen(
        forked_dbt_command(*_arguments(settings, command, arguments, target_path)),
        env=_environment(settings, keeps_sql=keeps_sql),
        cwd=settings.project_root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )


def _arguments(settings: Settings, command: str, arguments: tuple[str, ...], target_path: str) -> list[str]:
    folder = settings.home / target_path
    return [
        "--no-use-colors",
        # no files that no test reads
        "--log-level-file",
        "none",
        "--no-write-json",
        command,
        "--target-path",
        str(folder),
        "--log-path",
        str(folder / "logs"),
        *arguments,
    ]


def _environment(settings: Settings, *, keeps_sql: bool) -> dict[str, str]:
    return {**os.environ, **dbt_environment(settings), **({KEEPS_SQL: "1"} if keeps_sql else {})}
