"""A copy of the dbt project that a test may change."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from api.settings import PROJECT_ROOT, Settings


def copied_project(settings: Settings, folder: Path) -> Settings:
    """The settings with a copy of the project in the folder, which is made; without its tests and what commands wrote."""
    shutil.copytree(PROJECT_ROOT, folder, ignore=shutil.ignore_patterns(".*", "target", "logs", "build", "tests", "*.egg-info"))
    (folder / "tests" / "dbt").mkdir(parents=True)
    return dataclasses.replace(settings, project_root=folder)


def edit_project(settings: Settings, name: str, old: str, new: str) -> None:
    """Replaces a text that a file of the copy has exactly once.

    Raises:
        AssertionError: it does not.
    """
    file = settings.project_root / name
    text = file.read_text()
    assert text.count(old) == 1, f"{name} has {text.count(old)} times:\n{old}"
    file.write_text(text.replace(old, new))
