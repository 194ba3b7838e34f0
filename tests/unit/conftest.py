"""Unit tests need no server: a test fails that connects to PostgreSQL, or starts a program of PostgreSQL or Valkey."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

SERVER_PROGRAMS = {"initdb", "pg_ctl", "postgres", "redis-server", "valkey-server"}
START = subprocess.Popen.__init__


class ServerUsed(BaseException):
    """Not an Exception: code that handles an unavailable database must not handle this."""


def _refuse_connection(*_: Any, **__: Any) -> NoReturn:
    raise ServerUsed("a unit test connects to PostgreSQL; move it to tests/integration")


def _start(process: subprocess.Popen[Any], args: Any, *arguments: Any, **options: Any) -> None:
    program = Path(args if isinstance(args, str) else str(args[0])).name
    if program in SERVER_PROGRAMS:
        raise ServerUsed(f"a unit test starts {program}; move it to tests/integration")
    START(process, args, *arguments, **options)


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses connections to PostgreSQL and the start of servers during a unit test."""
    monkeypatch.setattr(subprocess.Popen, "__init__", _start)
    # a test without psycopg does not pay for its import
    psycopg = sys.modules.get("psycopg")
    if psycopg is not None:
        for owner in (psycopg, psycopg.Connection, psycopg.AsyncConnection):
            monkeypatch.setattr(owner, "connect", _refuse_connection)
