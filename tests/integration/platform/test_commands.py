"""Commands that need a database, and what they print if something is wrong."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from api.db.migrate import migrate
from api.settings import PROJECT_ROOT, Settings
from tests.support.command import mailmart
from tests.support.postgres import PostgresServer


def _migrate(settings: Settings) -> list[str]:
    return migrate(settings)


@pytest.mark.timeout(180)
def test_two_processes_migrate_at_once(server: PostgresServer, tmp_path: Path) -> None:
    name = f"both_{os.getpid()}"
    with server.as_superuser() as connection:
        connection.execute(f"create database {name} owner {server.login().as_string()}".encode())
    settings = Settings(server.url(name), None, tmp_path)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        first, second = pool.map(_migrate, [settings, settings])
    assert sorted([len(first), len(second)]) == [0, len(list((PROJECT_ROOT / "api" / "db" / "migrations").glob("*.sql")))]
    with server.as_superuser() as connection:
        connection.execute(f"drop database {name} with (force)".encode())


def test_batch_commands_without_a_build(settings: Settings) -> None:
    assert "no builds yet" in mailmart(settings, "batch", "list").output
    result = mailmart(settings, "batch", "rollback")
    assert result.exit_code == 1
    assert "no earlier publication" in result.output


def test_keys_are_created_listed_and_revoked(settings: Settings) -> None:
    key = mailmart(settings, "keys", "create", "--workspace", "w", "--name", "n", "--expires", "2099-01-01").output.strip()
    assert key.startswith("mm_")
    listed = mailmart(settings, "keys", "list").output
    assert "expires 2099-01-01" in listed
    assert key not in listed
    assert mailmart(settings, "keys", "revoke", key.split("_")[1]).exit_code == 0
    assert "revoked" in mailmart(settings, "keys", "list", "--workspace", "w").output
    assert "no keys yet" in mailmart(settings, "keys", "list", "--workspace", "other").output
