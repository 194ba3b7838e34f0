"""Commands that need a database, and what they print if something is wrong."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from api.db.connection import connect
from api.db.migrate import migrate
from api.settings import PROJECT_ROOT, Settings
from tests.support.command import mailmart
from tests.support.ports import free_port
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


@pytest.mark.parametrize(
    "command", [["keys", "list"], ["batch", "list"], ["migrate"], ["build"], ["generate", "--messages", "1"]]
)
def test_an_unreachable_database_is_one_sentence(tmp_path: Path, command: list[str]) -> None:
    result = mailmart(Settings(f"postgresql://login@127.0.0.1:{free_port()}/none", None, tmp_path), *command)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.output.startswith("error: the database: connection failed: ")
    assert "MAILMART_DATABASE_URL" in result.output


def test_a_signal_before_the_start_ends_the_command(settings: Settings, tmp_path: Path) -> None:
    """While it waits for another migration."""
    environment = {
        **os.environ,
        "MAILMART_DATABASE_URL": str(settings.database_url),
        # none has to be started
        "MAILMART_REDIS_URL": f"redis://127.0.0.1:{free_port()}",
        "MAILMART_HOME": str(tmp_path),
        "MAILMART_PORT": str(free_port()),
        "MAILMART_INTAKE_PORT": str(free_port()),
    }
    with connect(settings, None) as other:
        other.execute("select pg_advisory_lock(hashtextextended('mailmart.migrate', 0))")
        run = subprocess.Popen(
            [sys.executable, "-m", "api", "run"], env=environment, cwd=PROJECT_ROOT, stderr=subprocess.PIPE, text=True
        )
        assert run.stderr is not None
        output = ""
        while "waiting for the lock of another migration" not in output:
            line = run.stderr.readline()
            assert line, output
            output += line
        run.send_signal(signal.SIGTERM)
        output += run.communicate(timeout=60)[1]
    assert run.returncode == 0, output
    assert "Traceback" not in output
