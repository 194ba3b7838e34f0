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
    # as in a clone: Ruff, which changes what is generated, finds rules of a project above it
    (tmp_path / "pyproject.toml").write_text('[tool.ruff]\nlint.select = ["RET"]\n')
    output = tmp_path / "build"
    outdated = output / "openapi-python-client" / "outdated.py"
    outdated.parent.mkdir(parents=True)
    outdated.touch()
    result = CliRunner().invoke(main, ["sdk", "--output", str(output), "openapi-python-client"])
    assert result.exit_code == 0, result.output
    assert not outdated.exists()
    assert [path.name for path in output.iterdir()] == ["openapi-python-client"]
    package = output / "openapi-python-client"
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
