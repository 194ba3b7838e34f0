"""`mailmart env`: the environment of plain dbt, for eval and in a file .env."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from api.dbt.profile import dbt_environment
from api.settings import PROJECT_ROOT, Settings
from tests.support.command import mailmart

URL = "postgresql://analyst:secret@localhost:5433/mail"
SHOWN = ("DBT_PROFILES_DIR", "DBT_PROJECT_DIR", "MAILMART_DBT_DATABASE", "MAILMART_DBT_PASSWORD", "MAILMART_DBT_TARGET")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "with spaces and $(characters)"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the project's, with its profile, so that a test does not write to the project."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "profiles.yml.example").write_bytes((PROJECT_ROOT / "profiles.yml.example").read_bytes())
    read = Settings.from_environment

    def from_environment() -> Settings:
        settings = read()
        return Settings(settings.database_url, None, settings.home, project_root=folder)

    monkeypatch.setattr(Settings, "from_environment", from_environment)
    return folder


def in_shell(script: str, argument: str) -> list[str]:
    """Values of the shown variables after a script of bash."""
    shown = " ".join(f'"${name}"' for name in SHOWN)
    completed = subprocess.run(
        ["bash", "-c", f"{script}; printf '%s\\n' {shown}", "-", argument],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    return completed.stdout.splitlines()


def test_output_is_for_eval(home: Path) -> None:
    result = mailmart(Settings(URL, None, home), "env")
    assert result.exit_code == 0, result.output
    assert in_shell('eval "$1"', result.output) == [str(home), str(PROJECT_ROOT), "mail", "secret", "dev"]
    assert (home / "profiles.yml").read_bytes() == (PROJECT_ROOT / "profiles.yml.example").read_bytes()


def test_a_prefix_in_the_environment_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "MAILMART_DBT_PREFIX" not in mailmart(Settings(URL, None, home), "env").output
    monkeypatch.setenv("MAILMART_DBT_PREFIX", "alice")
    assert "MAILMART_DBT_PREFIX=alice\n" in mailmart(Settings(URL, None, home), "env").output


def test_write_makes_a_private_file_and_keeps_other_lines(home: Path, project: Path) -> None:
    path = project / ".env"
    path.write_text("# mine\nEDITOR_COLOR=blue\nexport MAILMART_DBT_PASSWORD=old\n")
    result = mailmart(Settings(URL, None, home), "env", "--write")
    assert result.exit_code == 0, result.output
    assert str(path) in result.output
    assert "secret" not in result.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("# mine\nEDITOR_COLOR=blue\n")
    assert "old" not in path.read_text()
    assert in_shell('set -a; . "$1"', str(path)) == [str(home), str(project), "mail", "secret", "dev"]
    first = path.read_text()
    mailmart(Settings(URL, None, home), "env", "--write")
    assert path.read_text() == first


@pytest.mark.parametrize("password", ["plain", "with space", "do$$ar", "#hash", "it's", "qu'o\"te$\\"])
def test_any_password_is_read_back_from_the_file(home: Path, project: Path, password: str) -> None:
    mailmart(Settings(f"postgresql://a:{quote(password, safe='')}@localhost/mail", None, home), "env", "--write")
    assert in_shell('set -a; . "$1"', str(project / ".env"))[3] == password


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("production", {"MAILMART_DBT_TARGET": "production"}),
        ("alice", {"MAILMART_DBT_TARGET": "dev", "MAILMART_DBT_PREFIX": "alice"}),
    ],
)
def test_mailmart_builds_its_own_target_whatever_the_shell_has(home: Path, target: str, expected: dict[str, str]) -> None:
    environment = dbt_environment(Settings(URL, None, home, target=target))
    assert {
        name: value for name, value in environment.items() if name in ("MAILMART_DBT_TARGET", "MAILMART_DBT_PREFIX")
    } == expected
