"""A small dbt project with a database of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.settings import Settings
from tests.integration.builds.project import small_project


@pytest.fixture
def project(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a new database and a project of two models."""
    return small_project(settings, tmp_path / "project")
