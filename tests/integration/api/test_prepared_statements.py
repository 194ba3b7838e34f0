"""Prepared statements give what the same statements in one message gave: rows, errors, and the facts that security depends on."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import psycopg
import pytest
import uvloop
from psycopg.conninfo import conninfo_to_dict

from api.db import pipeline as pipeline_module
from api.db import pool as pool_module
from api.db.connection import connect, conninfo
from api.db.loop_socket import LoopSocket
from api.db.migrate import migrate
from api.db.pipeline import Pipeline
from api.db.pool import ConnectionPool
from api.db.prepared_statements import MAX_STATEMENTS, PreparedStatements, Statement, is_supported
from api.db.request_context import AS_OF, CAMPAIGN_ID, WORKSPACE_ID
from api.db.text_rows import TextQuery
from api.embedded import servers
from api.errors import QueryTimeout, WarehouseUnavailable
from api.settings import Settings
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until

PREPARED = "select count(*) from pg_prepared_statements where not from_sql"
WORKSPACE = "select current_setting('mailmart.workspace_id', true)"
FACTS = """
    select current_user::text, current_setting('row_security'), current_setting('timezone'), current_setting('datestyle'),
        current_setting('extra_float_digits'), current_setting('search_path'), current_setting('statement_timeout'),
        current_setting('transaction_read_only')
"""
LoopFactory = Callable[[], asyncio.AbstractEventLoop]
OF_A_TRANSACTION = ("mailmart_api", "on", "UTC", "ISO, MDY", "1", "pg_catalog, pg_temp", "100s", "on")


@pytest.fixture(params=["prepared", "one message"])
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test with it runs twice, so that both ways give the same."""
    if request.param == "one message":
        monkeypatch.setattr(pool_module, "is_supported", lambda: False)
    return str(request.param)


@pytest.fixture
def pool(settings: Settings) -> Iterator[ConnectionPool]:
    """Of one connection, so that each query uses the same one."""
    # the time limit is not what ends a query on a slow machine
    with opened(dataclasses.replace(settings, pool_size=1, query_timeout_seconds=100)) as pool:
        yield pool


@pytest.fixture
def view(settings: Settings) -> Iterator[psycopg.Connection]:
    """A connection of the login, and a view `probe.numbers` that the API may read."""
    with connect(settings, None, autocommit=True) as connection:
        connection.execute("create schema probe; grant usage on schema probe to mailmart_api")
        replace_view(connection, "1")
        yield connection


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[ConnectionPool]:
    pool = ConnectionPool(settings)
    pool.open()
    try:
        yield pool
    finally:
        pool.close()


def replace_view(connection: psycopg.Connection, value: str) -> None:
    text = f"drop view if exists probe.numbers; create view probe.numbers as select {value} as number;"
    connection.execute(f"{text} grant select on probe.numbers to mailmart_api".encode())


def test_this_libpq_prepares() -> None:
    assert is_supported()


def test_a_statement_is_prepared_once(pool: ConnectionPool) -> None:
    for _ in range(3):
        (((workspace,),), ((prepared,),)) = pool.query({WORKSPACE_ID: "w"}, [WORKSPACE, PREPARED])
        assert workspace == "w"
    # the two, and the one that sets the settings
    assert prepared == 3
    ((plans,),) = pool.query({WORKSPACE_ID: "w"}, ["select sum(generic_plans) from pg_prepared_statements"])[0]
    assert plans > 3


def test_each_statement_has_the_facts_of_the_transaction(pool: ConnectionPool, protocol: str) -> None:
    for session in (
        "select 1",
        "set role mailmart_owner; set row_security = off; set timezone = 'Asia/Tokyo'; set search_path = public",
    ):
        # of another process, behind a pooler
        pool.execute(lambda connection, session=session: connection.execute(session.encode()))  # type: ignore[misc]
        for workspace in ("w", "other"):
            first, between, last = pool.query({WORKSPACE_ID: workspace}, [FACTS, WORKSPACE, FACTS])
            assert (first, last) == ([OF_A_TRANSACTION], [OF_A_TRANSACTION]), protocol
            assert between == [(workspace,)]
        # nothing of it remains in the session
        assert pool.query({}, [WORKSPACE]) == [[("",)]]


def test_rows_as_texts_are_what_postgresql_writes(pool: ConnectionPool, protocol: str) -> None:
    values = "select 1.50::numeric, 7::bigint, date '2026-01-02', true, null::int, timestamptz '2026-01-02 03:00Z', 'ä\"%s'"
    typed, texts, again = pool.query({}, [values, TextQuery(values), values])
    assert texts == [("1.50", "7", "2026-01-02", "t", None, "2026-01-02 03:00:00+00", 'ä"%s')]
    assert typed == again
    assert typed[0][:2] == (1.5, 7)


def test_a_query_cannot_write(pool: ConnectionPool, protocol: str) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        pool.query({}, ["create temp table t ()"])
    assert pool.query({}, ["select 1"]) == [[(1,)]], protocol


def test_an_error_ends_the_transaction_and_nothing_else(pool: ConnectionPool, protocol: str) -> None:
    for _ in range(2):
        with pytest.raises(psycopg.errors.DivisionByZero):
            pool.query({WORKSPACE_ID: "w"}, [WORKSPACE, "select 1 / 0", "select 3"])
        # what was prepared before the error is known, what comes after it is not
        assert pool.query({WORKSPACE_ID: "v"}, [WORKSPACE, "select 3"]) == [[("v",)], [(3,)]], protocol
    with pytest.raises(psycopg.errors.SyntaxError):
        pool.query({WORKSPACE_ID: "w"}, [WORKSPACE, "selec", "select 4"])
    assert pool.query({WORKSPACE_ID: "v"}, [WORKSPACE, "select 4"]) == [[("v",)], [(4,)]]
    assert not pool.is_unavailable


def test_a_role_that_cannot_be_taken_fails_before_any_statement(settings: Settings, server: PostgresServer) -> None:
    take_role = Statement("select set_config('role', 'probe_api', true)")
    with server.as_superuser() as superuser, psycopg.connect(conninfo(settings, None), autocommit=True) as connection:
        superuser.execute("create role probe_api nologin")
        try:
            prepared = PreparedStatements(connection)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                prepared.run([take_role, Statement("select 2")], "")
            assert prepared.run([Statement("select current_user = session_user")], "") == [[(True,)]]
        finally:
            superuser.execute("drop role probe_api")


def test_the_time_limit_in_the_middle_of_a_pipeline(settings: Settings, protocol: str) -> None:
    with opened(dataclasses.replace(settings, pool_size=1, query_timeout_seconds=1)) as pool:
        for _ in range(2):
            with pytest.raises(QueryTimeout):
                pool.query({WORKSPACE_ID: "w"}, [WORKSPACE, "select pg_sleep(60)", "select 3"])
            assert pool.query({WORKSPACE_ID: "w"}, [WORKSPACE, "select 3"]) == [[("w",)], [(3,)]], protocol
        assert not pool.is_unavailable


def test_a_session_that_is_ended_in_the_middle(pool: ConnectionPool, view: psycopg.Connection, protocol: str) -> None:
    """Once: the second attempt gives the rows. Twice: 503."""
    view.execute("create table probe.gate (); grant select on probe.gate to mailmart_api")
    results: list[object] = []

    def read() -> None:
        try:
            results.append(pool.query({WORKSPACE_ID: "w"}, [WORKSPACE, "select count(*) from probe.gate"]))
        except WarehouseUnavailable as error:
            results.append(error)

    ended: list[int] = []

    def end_a_waiting_session() -> bool:
        # the one before may still be listed
        row = view.execute(
            "select pid, pg_terminate_backend(pid) from pg_locks"
            " where not granted and relation = 'probe.gate'::regclass and pid <> all(%s)",
            (ended,),
        ).fetchone()
        ended.extend(row[:1] if row else ())
        return row is not None

    for kills in (1, 2):
        with view.transaction():
            view.execute("lock table probe.gate in access exclusive mode")
            reader = threading.Thread(target=read)
            reader.start()
            for _ in range(kills):
                wait_until(end_a_waiting_session, "the query waits and is ended")
            if kills == 2:
                reader.join()
        reader.join()
    assert results[0] == [[("w",)], [(0,)]], protocol
    assert isinstance(results[1], WarehouseUnavailable)
    assert pool.query({WORKSPACE_ID: "w"}, [WORKSPACE]) == [[("w",)]]


@pytest.mark.parametrize("loop_factory", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_a_session_that_ends_before_it_has_read_everything(settings: Settings, loop_factory: LoopFactory) -> None:
    """The socket has an error then, of which uvloop informs once: before all was read that the server had still sent."""

    async def end(connection: psycopg.Connection, query: Coroutine[Any, Any, object]) -> None:
        running = asyncio.ensure_future(query)
        await asyncio.sleep(0.1)
        # the session sleeps, and does not read it
        os.write(connection.pgconn.socket, bytes(100))
        with connect(settings, None, autocommit=True) as other:
            other.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
        with pytest.raises(psycopg.OperationalError):
            await asyncio.wait_for(running, 20)
        assert connection.closed

    async def main() -> None:
        with opened(dataclasses.replace(settings, query_timeout_seconds=100)) as pool:
            pool.query({}, ["select 1"])
            connection = pool.take_idle()
            assert connection is not None and connection.statements is not None  # noqa: PT018
            socket = connection.loop_socket = LoopSocket(connection)
            await end(connection, connection.statements.run_on_loop([Statement("select pg_sleep(60)")], "", socket))
            pool.put_back(connection)
        of_intake = connect(settings, "mailmart_intake", autocommit=True)
        pipeline = Pipeline(of_intake)
        await end(of_intake, pipeline.run([pipeline_module.Statement(b"select pg_sleep(60)")]))
        assert pipeline.is_closed

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_a_view_that_is_dropped_or_replaced(pool: ConnectionPool, view: psycopg.Connection, protocol: str) -> None:
    query = "select number from probe.numbers"
    assert pool.query({}, [query]) == [[(1,)]]
    # "cached plan must not change result type"
    replace_view(view, "'one'::text")
    assert pool.query({}, [WORKSPACE, query])[1] == [("one",)]
    assert pool.query({}, [WORKSPACE, query])[1] == [("one",)]
    replace_view(view, "2")
    assert pool.query({}, [query]) == [[(2,)]], protocol
    view.execute("drop view probe.numbers")
    for _ in range(2):
        with pytest.raises(psycopg.errors.UndefinedTable):
            pool.query({}, [query])
    replace_view(view, "3")
    assert pool.query({}, [query]) == [[(3,)]]


def test_a_privilege_that_is_revoked_counts_at_once(pool: ConnectionPool, view: psycopg.Connection, protocol: str) -> None:
    query = "select number from probe.numbers"
    assert pool.query({}, [query]) == [[(1,)]]
    view.execute("revoke select on probe.numbers from mailmart_api")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        pool.query({}, [query])
    view.execute("grant select on probe.numbers to mailmart_api")
    assert pool.query({}, [query]) == [[(1,)]], protocol


def test_statements_are_bounded_and_closed_with_their_publication(pool: ConnectionPool) -> None:
    for number in range(3 * MAX_STATEMENTS):
        assert pool.query({AS_OF: "1"}, [WORKSPACE, f"select {number}"])[1] == [(number,)]
    ((count,),) = pool.query({AS_OF: "1"}, [PREPARED])[0]
    assert count <= MAX_STATEMENTS
    # the most used one is not closed: its name is as old as the connection
    oldest = "select statement like '%workspace_id%' from pg_prepared_statements order by prepare_time limit 2"
    assert (True,) in pool.query({AS_OF: "1"}, [oldest])[0]
    ((count,),) = pool.query({AS_OF: "2"}, [PREPARED])[0]
    # the one that sets the settings, and the query itself
    assert count == 2
    many = [f"select {number} as more" for number in range(MAX_STATEMENTS + 5)]
    assert pool.query({AS_OF: "2"}, many) == [[(number,)] for number in range(MAX_STATEMENTS + 5)]
    assert pool.query({AS_OF: "2"}, many[:3]) == [[(0,)], [(1,)], [(2,)]]
    ((count,),) = pool.query({AS_OF: "2"}, [PREPARED])[0]
    assert count <= MAX_STATEMENTS


@pytest.mark.parametrize(("seconds", "prepared"), [(3600.0, 0), (0.0, 3)])
def test_a_new_connection_prepares_again_after_a_while(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seconds: float, prepared: int
) -> None:
    """A pooler that did not follow statements may be another one by now."""
    monkeypatch.setattr(pool_module, "PREPARE_AGAIN_SECONDS", seconds)
    both = [WORKSPACE, PREPARED]
    with opened(dataclasses.replace(settings, pool_size=1)) as pool, connect(settings, None, autocommit=True) as admin:
        assert pool.query({WORKSPACE_ID: "w"}, both) == [[("w",)], [(3,)]]
        # as if the next transaction had another session of the server
        pool.execute(lambda connection: connection.execute("deallocate all"))
        for _ in range(2):
            assert pool.query({WORKSPACE_ID: "w"}, both) == [[("w",)], [(0,)]]
        assert sum("no longer prepared" in record.message for record in caplog.records) == 1
        ((pid,),) = pool.query({}, ["select pg_backend_pid()"])[0]
        admin.execute("select pg_terminate_backend(%s)", (pid,))
        assert pool.query({WORKSPACE_ID: "w"}, both) == [[("w",)], [(prepared,)]]


def test_threads_share_the_pool(settings: Settings) -> None:
    wrong: list[object] = []

    def read(workspace: str) -> None:
        for number in range(40):
            # publications change meanwhile, and not for all at the same time
            found = shared.query({WORKSPACE_ID: workspace, AS_OF: str(number // 10)}, [WORKSPACE, FACTS, f"select {number}"])
            if found != [[(workspace,)], [OF_A_TRANSACTION], [(number,)]]:
                wrong.append(found)

    with opened(dataclasses.replace(settings, pool_size=3, query_timeout_seconds=100)) as shared:
        threads = [threading.Thread(target=read, args=(f"w{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_more_than_the_buffers_hold_in_both_directions(pool: ConnectionPool, protocol: str) -> None:
    """While the server waits until its rows are read, the client still has statements to send."""
    # larger than the buffers of a connection
    size = 8_000_000
    statements = [f"select repeat('x', {size}) /* {'y' * size} */", f"select 2 /* {'y' * size} */"]
    for _ in range(2):
        ((row,), last) = pool.query({WORKSPACE_ID: "w" * size}, statements)
        assert (len(row[0]), last) == (size, [(2,)]), protocol


@pytest.mark.parametrize("value", ["\0", "a\0b"])
def test_a_value_with_nul_is_not_cut_off(pool: ConnectionPool, value: str, protocol: str) -> None:
    with pytest.raises(psycopg.DataError, match="NUL"):
        pool.query({CAMPAIGN_ID: value}, ["select 1"])
    assert pool.query({}, ["select 1"]) == [[(1,)]], protocol


def test_only_settings_of_a_request_context_are_set(pool: ConnectionPool, protocol: str) -> None:
    for name in ("role", "mailmart.x', 'y', true), set_config('role"):
        with pytest.raises(ValueError, match="is not a setting"):
            pool.query({name: "mailmart_owner"}, ["select 1"])
    assert pool.query({}, ["select current_user::text"]) == [[("mailmart_api",)]], protocol


def test_on_citus_nothing_is_prepared(settings: Settings, server: PostgresServer) -> None:
    """There, only SET LOCAL reaches the workers."""
    assert settings.database_url is not None
    name = str(conninfo_to_dict(settings.database_url)["dbname"])
    with psycopg.connect(server.superuser, dbname=name, autocommit=True) as superuser:
        superuser.execute("set allow_system_table_mods = on")
        superuser.execute(
            "insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)"
            " select 999999, 'citus', 10, oid, false, '13' from pg_namespace where nspname = 'public'"
        )
    with opened(settings) as pool:
        assert pool.query({WORKSPACE_ID: "w"}, [WORKSPACE, PREPARED]) == [[("w",)], [(0,)]]


def test_a_server_that_restarts(tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(None, None, tmp_path_factory.mktemp("restart"))
    servers.start(settings)
    try:
        migrate(settings)
        with opened(settings) as pool, caplog.at_level(logging.WARNING):
            assert pool.query({WORKSPACE_ID: "w"}, [WORKSPACE]) == [[("w",)]]
            servers.stop(settings)
            with pytest.raises(WarehouseUnavailable):
                pool.query({WORKSPACE_ID: "w"}, [WORKSPACE])
            servers.start(settings)

            def answers() -> bool:
                try:
                    return pool.query({WORKSPACE_ID: "w"}, [WORKSPACE, PREPARED]) == [[("w",)], [(3,)]]
                except WarehouseUnavailable:
                    return False

            wait_until(answers, "the pool finds the server again, and prepares again")
            assert "no longer prepared" not in caplog.text
    finally:
        servers.stop(settings)
