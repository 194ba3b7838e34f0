"""The nodes of a build use the same session, one after the other."""

from __future__ import annotations

import os

import psycopg
import psycopg2  # type: ignore[import-untyped]
import pytest

from api.dbt.reused_connections import ReusedConnections
from api.settings import Settings


@pytest.fixture
def dsn(module_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    # undoes what install() does, and what the tests' own dbt does
    monkeypatch.setattr(psycopg2, "connect", psycopg2.connect)
    return str(module_settings.database_url)


def backend(session: psycopg2.extensions.connection) -> int:
    with session.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_a_session_is_used_again_and_is_as_new(dsn: str) -> None:
    reused = ReusedConnections()
    reused.install()
    session = psycopg2.connect(dsn)
    first = backend(session)
    with session.cursor() as cursor:
        cursor.execute("create temporary table of_a_node (n int); set lock_timeout = '7s'; select pg_advisory_lock(4711)")
    session.commit()
    with session.cursor() as cursor:
        cursor.execute("create temporary table undone (n int)")
    session.close()

    session = psycopg2.connect(dsn)
    assert backend(session) == first
    with session.cursor() as cursor:
        cursor.execute(
            "select to_regclass('pg_temp.of_a_node'), to_regclass('pg_temp.undone'), current_setting('lock_timeout'),"
            " (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())"
        )
        assert cursor.fetchone() == (None, None, "0", 0)
    # two at a time, as two threads of dbt
    other = psycopg2.connect(dsn)
    assert backend(other) != first
    other.close()
    session.close()

    # another process has sessions of its own, and leaves these alone
    pid = os.fork()
    if pid == 0:
        os._exit(0 if backend(psycopg2.connect(dsn)) != first else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

    # one that the server has ended is replaced
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where pid = %s", (first,))
    session = psycopg2.connect(dsn)
    assert backend(session) != first
    session.close()
    reused.close_all()
