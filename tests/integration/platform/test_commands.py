"""The small commands, and what they say when something is wrong."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from api.db.connection import conninfo
from api.db.migrate import migrate
from api.errors import SettingsError
from api.settings import PROJECT_ROOT, Settings
from tests.conftest import Server
from tests.support.command import mailmart


def test_env_is_for_eval(settings: Settings, tmp_path: Path) -> None:
    home = tmp_path / "with 'quotes' and $(spaces)"
    result = mailmart(Settings(settings.database_url, None, home), "env")
    assert result.exit_code == 0, result.output
    shown = subprocess.run(
        [
            "bash",
            "-c",
            'eval "$1"; printf "%s|%s|%s" "$DBT_PROFILES_DIR" "$DBT_PROJECT_DIR" "$MAILMART_DBT_DATABASE"',
            "-",
            result.output,
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert shown.stdout == f"{home}|{PROJECT_ROOT}|{conninfo_to_dict(str(settings.database_url))['dbname']}"
    assert (home / "profiles.yml").read_bytes() == (PROJECT_ROOT / "profiles.yml.example").read_bytes()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MAILMART_PORT", "eighty", "MAILMART_PORT is 'eighty'"),
        ("MAILMART_PORT", "70000", "from 0 to 65535"),
        ("MAILMART_QUERY_TIMEOUT_SECONDS", "0", "from 1 to 3600"),
        ("MAILMART_EXPORT_BUCKET", "s3 bucket", "MAILMART_EXPORT_BUCKET is 's3 bucket'"),
        ("MAILMART_EXPORT_PREFIX", "exports", "MAILMART_EXPORT_PREFIX is set, and no bucket"),
        ("MAILMART_EXPORT_ENCRYPTION", "aws:kms", "MAILMART_EXPORT_ENCRYPTION is set, and no bucket"),
        ("MAILMART_PUBLIC_URL", "mail.example.com", "MAILMART_PUBLIC_URL is 'mail.example.com'"),
        ("MAILMART_PUBLIC_URL", "ftp://mail.example.com", "https://mail.example.com"),
        ("MAILMART_PUBLIC_URL", "https://user:secret@mail.example.com", "MAILMART_PUBLIC_URL"),
        ("MAILMART_PUBLIC_URL", "https://mail.example.com/?a=b", "MAILMART_PUBLIC_URL"),
    ],
)
def test_bad_settings_are_named(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_environment({variable: value})
    assert said in f"{raised.value.message} {raised.value.hint}"


def test_a_url_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not a connection string"):
        conninfo(Settings("mysql://x", None, tmp_path), None)


def test_errors_are_two_lines_and_no_trace(tmp_path: Path) -> None:
    result = mailmart(Settings("", None, tmp_path), "migrate")
    assert result.exit_code == 1
    assert result.output.startswith("error: no database")
    assert "Run `mailmart up`" in result.output
    assert "Traceback" not in result.output


def _migrate(settings: Settings) -> list[str]:
    return migrate(settings)


@pytest.mark.timeout(60)
def test_two_processes_migrate_at_once(server: Server, tmp_path: Path) -> None:
    name = f"both_{os.getpid()}"
    with server.as_superuser() as connection:
        connection.execute(f"create database {name} owner {server.login().as_string()}".encode())
    settings = Settings(server.url(name), None, tmp_path)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(_migrate, [settings, settings])
    assert sorted([len(first), len(second)]) == [0, len(list((PROJECT_ROOT / "api" / "db" / "migrations").glob("*.sql")))]
    with server.as_superuser() as connection:
        connection.execute(f"drop database {name} with (force)".encode())


def test_no_builds_yet(settings: Settings) -> None:
    assert "no builds yet" in mailmart(settings, "batch", "list").output
    result = mailmart(settings, "batch", "rollback")
    assert result.exit_code == 1
    assert "no earlier publication" in result.output


def test_keys_from_the_command_line(settings: Settings) -> None:
    key = mailmart(settings, "keys", "create", "--workspace", "w", "--name", "n", "--expires", "2099-01-01").output.strip()
    assert key.startswith("mm_")
    listed = mailmart(settings, "keys", "list").output
    assert "until 2099-01-01" in listed
    assert key not in listed
    assert mailmart(settings, "keys", "revoke", key.split("_")[1]).exit_code == 0
    assert "revoked" in mailmart(settings, "keys", "list", "--workspace", "w").output
    assert "no keys yet" in mailmart(settings, "keys", "list", "--workspace", "other").output
