"""The guard of the unit tests works: see conftest.py."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
import pytest

from api.db.connection import connect
from api.settings import Settings
from tests.unit.conftest import ServerUsed


def test_a_connection_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerUsed), psycopg.connect("postgresql://localhost/postgres"):
        pass
    settings = Settings(database_url="postgresql://localhost/postgres", redis_url=None, home=tmp_path)
    with pytest.raises(ServerUsed), connect(settings, None):
        pass


@pytest.mark.parametrize("program", ["initdb", "pg_ctl", "valkey-server"])
def test_a_server_cannot_be_started(program: str) -> None:
    with pytest.raises(ServerUsed):
        subprocess.run([f"/some/bin/{program}", "--version"], check=True)


def test_other_programs_can_be_started() -> None:
    assert subprocess.run(["echo", "started"], capture_output=True, text=True, check=True).stdout == "started\n"
