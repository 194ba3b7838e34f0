"""`mailmart dbt` is dbt with the environment of `mailmart env`, in a process that starts it faster."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from api.dbt.profile import PROFILE_VARIABLES
from api.settings import Settings
from tests.support.command import mailmart


def test_it_runs_dbt_with_its_arguments_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[Sequence[str], Mapping[str, str]]] = []

    def execve(path: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        assert path == sys.executable
        started.append((arguments, environment))

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setenv("OF_THE_CALLER", "1")
    settings = Settings("postgresql://owner:secret@127.0.0.1:5432/mail", None, tmp_path)
    done = mailmart(settings, "dbt", "show", "--select", "campaign_performance", "--help")
    assert done.exit_code == 0, done.output
    ((arguments, environment),) = started
    assert arguments == [sys.executable, "-m", "api.dbt.command", "show", "--select", "campaign_performance", "--help"]
    assert environment["OF_THE_CALLER"] == "1"
    assert environment["MAILMART_DBT_TARGET"] == "dev"
    assert {name for name in PROFILE_VARIABLES if name in environment} >= {"MAILMART_DBT_HOST", "MAILMART_DBT_PASSWORD"}
