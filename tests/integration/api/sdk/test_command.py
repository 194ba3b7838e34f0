"""`mailmart sdk`: the package that it writes, and the error if a program is missing."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from api.cli import main
from api.tools.sdk.npm import npm_packages
from tests.integration.api.sdk.needs import needs


def test_generated_sdk_is_a_package(tmp_path: Path) -> None:
    outdated = tmp_path / "openapi-python-client" / "outdated.py"
    outdated.parent.mkdir()
    outdated.touch()
    result = CliRunner().invoke(main, ["sdk", "--output", str(tmp_path), "openapi-python-client"])
    assert result.exit_code == 0, result.output
    assert not outdated.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["openapi-python-client"]
    package = tmp_path / "openapi-python-client"
    assert {path.name for path in package.iterdir()} == {
        "README.md",
        "REFERENCE.md",
        "mailmart_client",
        "pyproject.toml",
    }
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["version"]) == ("mailmart-client", version("mailmart"))


def test_missing_programs_are_listed_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(main, ["sdk", "--output", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.splitlines()[0] == (
        "error: not installed: java (Java 11 or later), node (Node 18.17 or later), npm (part of Node)"
    )
    assert list(tmp_path.iterdir()) == []


@needs("node", "npm")
@pytest.mark.timeout(900)
def test_installed_packages_do_not_need_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packages = npm_packages()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert npm_packages() == packages
    assert (packages / "openapi-typescript").is_dir()
