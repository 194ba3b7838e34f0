"""A small dbt project with a database of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.settings import Settings
from tests.integration.builds.project import small_project
from tests.support.forked_dbt import forked_build_command


@pytest.fixture
def project(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a new database and a project of two models. Nightly runs in this process import dbt only once."""
    monkeypatch.setattr("api.builds.dbt_attempt.build_command", forked_build_command)
    return small_project(settings, tmp_path / "project")
