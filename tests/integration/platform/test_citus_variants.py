"""The SQL that macros and functions make for Citus has the same results as that for one server. It needs no Citus.

Whether Citus runs it is for test_citus.py.
"""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from api.db.citus import ROLES_ON_NODES
from api.db.citus_queries import ServedQueries
from api.db.connection import connect
from api.db.pool import ConnectionPool
from api.errors import WarehouseUnavailable
from api.settings import Settings
from tests.integration.conftest import MakeDatabase
from tests.integration.platform.test_citus import answers
from tests.integration.warehouse import current_rows, second_ids
from tests.integration.warehouse.events import random_events
from tests.integration.warehouse.loading import load_events
from tests.integration.warehouse.random_queries import publish_unfinished_build
from tests.support.citus import stand_in
from tests.support.dbt import WITHOUT_TESTS, run_dbt
from tests.support.postgres import PostgresServer

MAIL_WORKSPACES = tuple(f"two ids {number}" for number in range(3))


@pytest.mark.timeout(900)
def test_builds_and_answers(
    make_database: MakeDatabase, server: PostgresServer, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, chance, now = make_database(), random.Random(seed), datetime.now(UTC)
    stand_in(settings, server)
    start = now - timedelta(days=20)
    events = random_events(chance, "w", 100, start) + random_events(chance, "v", 20, start)
    mail = [event for workspace in MAIL_WORKSPACES for event in second_ids.random_mail(chance, workspace, start)]
    chance.shuffle(mail)
    for number, part in enumerate((slice(0, None, 2), slice(1, None, 2))):
        loaded_at = now - timedelta(hours=3 - number)
        load_events(settings, events[part], loaded_at)
        second_ids.load_mail(settings, mail[part], loaded_at)
        run_dbt(settings, *WITHOUT_TESTS)
    loaded = [*events[0::2], *events[1::2]]
    _compare_answers(settings, monkeypatch)
    assert current_rows.differences(settings, loaded, now, MAIL_WORKSPACES) == [], f"seed {seed}"
    mail_loaded = [*mail[0::2], *mail[1::2]]
    for workspace in MAIL_WORKSPACES:
        assert second_ids.messages_found(settings, workspace) == second_ids.messages(mail_loaded, workspace), f"seed {seed}"


def test_every_role_that_citus_copies_privileges_of_is_made_on_the_nodes(settings: Settings) -> None:
    # a new cluster said "role mailmart_intake does not exist" when the first table was distributed
    with connect(settings, "mailmart_owner") as connection:
        granted = connection.execute(
            "select distinct grantee::regrole::text from pg_namespace cross join lateral aclexplode(nspacl) as privileges"
            " where nspname = 'app' and grantee <> 0"
        ).fetchall()
    assert {role for (role,) in granted} <= set(ROLES_ON_NODES)


def _compare_answers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API as it reads on Citus, beside how it reads on one server."""
    publish_unfinished_build(settings)
    plain = answers(settings)
    assert {path: status for path, (status, _) in plain.items() if status != 200} == {}
    rewritten: list[str] = []
    rewrite = ServedQueries.rewrite

    def remember(self: ServedQueries, connection: psycopg.Connection, statement: str, workspace_id: str) -> str:
        text = rewrite(self, connection, statement, workspace_id)
        rewritten.append(text)
        return text

    monkeypatch.setattr("api.db.pool.has_citus", lambda connection: True)
    monkeypatch.setattr(ServedQueries, "rewrite", remember)
    assert answers(settings) == plain
    assert rewritten
    # every name of a view is replaced, and every mark
    assert [text for text in rewritten if "marts_served" in text or "/*workspace_id*/" in text] == []
    assert any("workspace_id = 'w'" in text for text in rewritten)
    # a copy of the database has another name
    database = str(psycopg.conninfo.conninfo_to_dict(str(settings.database_url))["dbname"])
    assert [text for text in rewritten if database in text] == []


def test_a_node_that_is_down_is_not_the_database(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL says what the coordinator says of a node."""
    monkeypatch.setattr("api.db.pool.has_citus", lambda connection: True)
    tried: list[int] = []

    def work(connection: psycopg.Connection) -> None:
        tried.append(connection.info.backend_pid)
        connection.execute("do $$ begin raise exception 'no node' using errcode = 'connection_failure'; end $$")

    pool = ConnectionPool(dataclasses.replace(settings, pool_timeout_seconds=1))
    pool.open()
    try:
        with pytest.raises(WarehouseUnavailable):
            pool.execute(work)
        assert len(tried) == 2
        assert not pool.is_unavailable
        assert pool.execute(lambda connection: connection.execute("select 1").fetchone()) == (1,)
    finally:
        pool.close()
