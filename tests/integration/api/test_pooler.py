"""Behind a connection pooler that drops start-up options, each tenant sees its own rows, or nothing is answered at all."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.db.pool import ConnectionPool
from api.db.request_context import AS_OF, WORKSPACE_ID
from api.db.session import Role
from api.errors import SessionError
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import OTHER_WORKSPACE, Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE
from tests.support.command import mailmart
from tests.support.pgbouncer import follows_statements, needs_pgbouncer, pooled

pytestmark = needs_pgbouncer

NOT_PREPARED = "statements are no longer prepared"
WHOSE = "select current_setting('mailmart.workspace_id', true), current_user::text, current_setting('row_security')"
FOLLOWING = "transaction mode with max_prepared_statements"


@pytest.fixture(scope="module", params=["session", "transaction", FOLLOWING])
def behind_pooler(request: pytest.FixtureRequest, warehouse_settings: Settings) -> Iterator[Settings]:
    _reset_login(warehouse_settings)
    if request.param != FOLLOWING:
        with pooled(warehouse_settings, mode=request.param) as settings:
            yield settings
        return
    if not follows_statements():
        pytest.skip("PgBouncer is older than 1.21")
    with pooled(warehouse_settings, mode="transaction", max_prepared_statements=100) as settings:
        yield settings


def _reset_login(settings: Settings) -> None:
    """Removes defaults of the login with which the API refuses to answer if a pooler drops its start-up options."""
    assert settings.database_url is not None
    database = conninfo_to_dict(settings.database_url)
    login, name = sql.Identifier(str(database["user"])), sql.Identifier(str(database["dbname"]))
    with connect(settings, None, autocommit=True) as connection:
        connection.execute(sql.SQL("alter role {} in database {} reset all").format(login, name))


def test_each_tenant_sees_its_own_rows(behind_pooler: Settings, warehouse_settings: Settings) -> None:
    app = WsgiApp(behind_pooler)
    try:
        callers = {
            workspace: Caller(Client(app), create_key(warehouse_settings, workspace, name="pooler"))
            for workspace in (WORKSPACE, OTHER_WORKSPACE)
        }
        assert Client(app).get("/readyz").status_code == 200
        wrong: list[str] = []

        def ask(workspace: str) -> None:
            for number in range(30):
                # another window each time: nothing of it is cached
                query = {"timeRange": "custom", "startDate": f"2026-01-{number + 1:02}", "endDate": "2026-11-26"}
                body = callers[workspace].get(f"{workspace}/analytics/overview", **query).get_json()
                if body["data"]["workspace_id"] != workspace:
                    wrong.append(f"{workspace} was shown {body['data']['workspace_id']}")

        threads = [threading.Thread(target=ask, args=(workspace,)) for workspace in callers for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
    finally:
        app.close()


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_login_with_formats_of_another_country_gets_the_same_responses(warehouse_settings: Settings, mode: str) -> None:
    _reset_login(warehouse_settings)
    key = create_key(warehouse_settings, WORKSPACE, name="formats")
    direct = WsgiApp(warehouse_settings)
    try:
        expected = _responses(Caller(Client(direct), key))
    finally:
        direct.close()
    with connect(warehouse_settings, None, autocommit=True) as connection:
        database = sql.Identifier(connection.info.dbname)
        for name, value in (("datestyle", "German, DMY"), ("timezone", "Asia/Kolkata")):
            connection.execute(
                sql.SQL("alter role current_user in database {} set {} = {}").format(
                    database, sql.Identifier(name), sql.Literal(value)
                )
            )
    try:
        with pooled(warehouse_settings, mode=mode) as settings:
            app = WsgiApp(settings)
            try:
                assert _responses(Caller(Client(app), key)) == expected
            finally:
                app.close()
    finally:
        _reset_login(warehouse_settings)


def _responses(caller: Caller) -> dict[str, object]:
    paths = ("campaigns", "mailboxes", "domains", "analytics/overview", "analytics/series", "analytics/deliverability")
    window = {"timeRange": "custom", "startDate": "2026-01-01", "endDate": "2026-11-26"}
    bodies = {path: caller.get(f"{WORKSPACE}/{path}", **window) for path in paths if path != "analytics/deliverability"}
    bodies |= {path: caller.get(f"{WORKSPACE}/{path}") for path in ("analytics/deliverability", "analytics/data-quality")}
    bodies["campaign"] = caller.get(f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics", **window)
    assert {path: body.status_code for path, body in bodies.items()} == dict.fromkeys(bodies, 200)
    return {path: body.get_json()["data"] for path, body in bodies.items()}


@pytest.mark.parametrize("mode", ["session", "transaction", FOLLOWING])
def test_clients_share_sessions_of_the_server(warehouse_settings: Settings, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    """Two processes with the same statements, and more connections than sessions: rows are right, prepared or not."""
    _reset_login(warehouse_settings)
    if mode == FOLLOWING and not follows_statements():
        pytest.skip("PgBouncer is older than 1.21")
    wrong: list[object] = []

    def read(pool: ConnectionPool, workspace: str) -> None:
        for number in range(40):
            # publications change meanwhile, and there are more statements than PgBouncer follows
            rows = pool.query({WORKSPACE_ID: workspace, AS_OF: str(number // 20)}, [WHOSE, f"select {number}"])
            if rows != [[(workspace, "mailmart_api", "on")], [(number,)]]:
                wrong.append(rows)

    with (
        pooled(
            warehouse_settings,
            mode="session" if mode == "session" else "transaction",
            # in session mode, each connection has a session
            pool_size=8 if mode == "session" else 3,
            max_prepared_statements=10 if mode == FOLLOWING else 0,
        ) as settings,
        caplog.at_level(logging.WARNING),
        ExitStack() as stack,
    ):
        pools = [ConnectionPool(replace(settings, pool_size=3)) for _ in range(2)]
        for pool in pools:
            pool.open()
            stack.callback(pool.close)
        threads = [threading.Thread(target=read, args=(pool, f"w{number}")) for number in range(3) for pool in pools]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    warnings = [record.message for record in caplog.records]
    # noticed by itself, and said by each process
    assert all(NOT_PREPARED in message for message in warnings), warnings
    assert bool(warnings) == (mode == "transaction")


@pytest.mark.parametrize("role", ["mailmart_worker", "mailmart_owner"])
def test_a_session_without_its_role_is_refused(behind_pooler: Settings, role: Role) -> None:
    with pytest.raises(SessionError, match=f"has the role .*, not {role}") as refused:
        connect(behind_pooler, role)
    assert "pooler" in refused.value.hint


def test_a_pooler_that_refuses_the_options_is_not_ready(warehouse_settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with pooled(warehouse_settings, mode="transaction", ignored="extra_float_digits") as settings:
        app = WsgiApp(settings)
        try:
            with caplog.at_level(logging.WARNING):
                assert Client(app).get("/readyz").status_code == 503
        finally:
            app.close()


def test_a_migration_through_a_pooler_is_refused(behind_pooler: Settings) -> None:
    """In transaction mode, its lock stayed with a session of the pooler, and the next migration waited for it."""
    result = mailmart(behind_pooler, "migrate")
    assert result.exit_code == 1
    assert "error: a connection pooler dropped the start-up options of a database session\nOnly `mailmart serve`" in result.output


@pytest.mark.parametrize("role", [None, "mailmart_worker", "mailmart_owner"])
def test_a_pooler_that_refuses_the_options_is_named(warehouse_settings: Settings, role: Role | None) -> None:
    with (
        pooled(warehouse_settings, mode="session", ignored="extra_float_digits") as settings,
        pytest.raises(SessionError, match="a connection pooler refuses the start-up options") as refused,
    ):
        connect(settings, role)
    assert "PostgreSQL itself" in refused.value.hint
