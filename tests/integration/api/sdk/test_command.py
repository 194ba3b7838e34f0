"""`mailmart sdk`: what it writes, and what it says where something is missing."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from api.cli import main
from api.tools.sdk.npm import npm_packages
from tests.integration.api.sdk.needs import needs


def test_a_named_sdk_is_a_package(tmp_path: Path) -> None:
    gone = tmp_path / "openapi-python-client" / "of an earlier document.py"
    gone.parent.mkdir()
    gone.touch()
    result = CliRunner().invoke(main, ["sdk", "--output", str(tmp_path), "openapi-python-client"])
    assert result.exit_code == 0, result.output
    assert not gone.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["openapi-python-client"]
    made = tmp_path / "openapi-python-client"
    assert {path.name for path in made.iterdir()} == {"README.md", "mailmart_client", "pyproject.toml"}
    project = tomllib.loads((made / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["version"]) == ("mailmart-client", version("mailmart"))


def test_all_that_is_missing_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(main, ["sdk", "--output", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.splitlines()[0] == (
        "error: not on this machine: java (Java 11 or later), node (Node 18.17 or later), npm (beside Node)"
    )
    assert list(tmp_path.iterdir()) == []


@needs("node", "npm")
@pytest.mark.timeout(300)
def test_installed_packages_need_no_npm_any_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packages = npm_packages()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert npm_packages() == packages
    assert (packages / "openapi-typescript").is_dir()
