"""On Citus, the nodes of a build have one session after the other; on one server, each has a new one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import psycopg2  # type: ignore[import-untyped]
import pytest

from api.db.connection import connect
from api.dbt.reused_connections import ReusedConnections
from api.settings import Settings


@pytest.fixture
def dsn(module_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    # undoes what install() does, and what the tests' own dbt does
    monkeypatch.setattr(psycopg2, "connect", psycopg2.connect)
    yield str(module_settings.database_url)
    with connect(module_settings, "mailmart_owner") as connection:
        connection.execute("drop table if exists app.workspace_shards")


def backend(session: psycopg2.extensions.connection) -> int:
    with session.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_a_session_is_used_again_if_core_is_distributed(dsn: str, module_settings: Settings) -> None:
    with connect(module_settings, "mailmart_owner") as connection:
        connection.execute("create table if not exists app.workspace_shards (workspace_id text)")
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


def test_a_session_of_one_server_is_closed(dsn: str) -> None:
    ReusedConnections().install()
    session = psycopg2.connect(dsn)
    first = backend(session)
    session.close()
    assert session.closed
    session = psycopg2.connect(dsn)
    assert backend(session) != first
    session.close()
