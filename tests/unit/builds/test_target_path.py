"""What dbt writes for each target is in a folder of its own, so that each keeps its parse of the project."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from api.dbt import runner
from api.settings import Settings

PRINT = [sys.executable, "-c", "import os; print(os.environ['DBT_TARGET_PATH'])"]


@pytest.mark.parametrize(
    ("variable", "target", "folder"),
    [("", "production", "target/production"), ("", "dev", "target/dev"), ("/var/lib/x", "production", "/var/lib/x/production")],
)
def test_the_folder_is_below_that_of_plain_dbt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, target: str, folder: str
) -> None:
    settings = Settings(database_url="postgresql://nobody@localhost/nothing", redis_url=None, home=tmp_path)
    monkeypatch.setenv("DBT_TARGET_PATH", variable)
    monkeypatch.setattr(runner, "dbt_command", lambda *_: PRINT)
    ran = runner.run_dbt(dataclasses.replace(settings, target=target), ["build"], quiet=True)
    assert ran.stdout.strip() == folder


@pytest.mark.slow
def test_the_command_starts_the_installed_dbt(tmp_path: Path) -> None:
    # where other tests build, dbt is imported already
    settings = Settings(database_url="postgresql://nobody@localhost/nothing", redis_url=None, home=tmp_path)
    ran = runner.run_dbt(settings, ["build", "--help"], quiet=True)
    assert (ran.returncode, ran.stdout.partition(" [")[0]) == (0, "Usage: dbt build")
