"""A warehouse whose raw logs become hypertables of TimescaleDB has the same answers, through everything that happens to it.

It runs where MAILMART_TEST_TIMESCALE_URL is the connection string of a superuser of a server with TimescaleDB. All other tests
run on such a server with MAILMART_TEST_SERVER and MAILMART_TEST_HYPERTABLES=1.
"""

from __future__ import annotations

import dataclasses
import os
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.builds.columnstore import convert_old_chunks
from api.builds.retention import remove_old_rows
from api.db.connection import connect
from api.db.migrate import migrate
from api.db.timescale import make_hypertables
from api.errors import MailmartError
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import Caller
from tests.integration.conftest import MakeDatabase
from tests.integration.warehouse import current_rows
from tests.integration.warehouse.events import Event, random_events
from tests.integration.warehouse.loading import load_events
from tests.support.command import mailmart
from tests.support.dbt import WITHOUT_TESTS, WITHOUT_UNIT_TESTS, run_dbt
from tests.support.postgres import PostgresServer, run_login

VARIABLE = "MAILMART_TEST_TIMESCALE_URL"
needs_timescale = pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} is not set")
NEVER = threading.Event()
NOW = datetime.now(UTC)
WINDOW = "timeRange=90d"
PATHS = (
    f"campaigns/w-c1/analytics?{WINDOW}",
    f"analytics/overview?{WINDOW}",
    f"analytics/deliverability?{WINDOW}",
    f"analytics/engagement-heatmap?{WINDOW}&granularity=hour",
    f"analytics/sources?{WINDOW}",
    "analytics/data-quality",
)
COMPARED = {"campaign_ids": ["w-c1", "w-c2", "w-c3"], "time_range": "90d"}


@pytest.fixture
def timescale(tmp_path: Path) -> Iterator[Settings]:
    """A migrated database of its own on the server with TimescaleDB."""
    superuser = os.environ[VARIABLE]
    with run_login(superuser) as login_url:
        server = PostgresServer(superuser, login_url)
        server.create_database("mailmart_timescale", warehouse="example")
        with psycopg.connect(make_conninfo(superuser, dbname="mailmart_timescale"), autocommit=True) as connection:
            connection.execute("create extension if not exists timescaledb")
        settings = Settings(server.url("mailmart_timescale"), None, tmp_path, rate_limit_factor=1_000_000, response_cache_mb=0)
        migrate(settings)
        yield settings


def rows(settings: Settings, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with connect(settings, "mailmart_owner") as connection:
        return connection.execute(statement.encode(), parameters).fetchall()


def load_bodies(settings: Settings, loaded_at: datetime, count: int) -> None:
    with connect(settings, "mailmart_owner") as connection:
        for number in range(count):
            event = {
                "email": f"ann{number}@example.com",
                "timestamp": (loaded_at - timedelta(hours=1)).timestamp(),
                "event": "delivered",
                "sg_message_id": f"p{loaded_at:%j}{number}",
            }
            connection.execute(
                "insert into raw.webhook_payloads (provider, workspace_id, payload, loaded_at) values ('sendgrid', 'w', %s, %s)",
                (Jsonb([event]), loaded_at),
            )


def answers(settings: Settings) -> dict[str, Any]:
    service = WsgiApp(settings)
    try:
        caller = Caller(Client(service), create_key(settings, "w", name="timescale"))
        headers = {"Authorization": f"Bearer {caller.key}"}
        found = {}
        for path in PATHS:
            response = caller.client.get(f"/api/v1/workspaces/w/{path}", headers=headers)
            found[path] = (response.status_code, response.get_json().get("data"))
        response = caller.client.post("/api/v1/workspaces/w/analytics/compare", headers=headers, json=COMPARED)
        found["compare"] = (response.status_code, response.get_json().get("data"))
        return found
    finally:
        service.close()


class _Both:
    """The same on both servers."""

    def __init__(self, plain: Settings, hyper: Settings) -> None:
        self.each = (plain, hyper)

    def load(self, events: list[Event], loaded_at: datetime) -> None:
        for settings in self.each:
            load_events(settings, events, loaded_at)
            load_bodies(settings, loaded_at, 5)

    def build(self, *arguments: str) -> None:
        for settings in self.each:
            run_dbt(settings, *(arguments or WITHOUT_UNIT_TESTS))

    def check(self) -> None:
        plain, hyper = (answers(settings) for settings in self.each)
        assert {path: status for path, (status, _) in plain.items() if status != 200} == {}
        assert hyper == plain
        plain_rows, hyper_rows = (current_rows.everything(settings) for settings in self.each)
        assert hyper_rows == plain_rows


@needs_timescale
@pytest.mark.timeout(1800)
def test_everything_is_as_on_plain_tables(timescale: Settings, make_database: MakeDatabase, seed: int) -> None:
    plain = dataclasses.replace(make_database(), response_cache_mb=0)
    # the same hashes of recipients
    (key,) = rows(plain, "select inner_key, outer_key from app.recipient_hash_key")
    rows(timescale, "update app.recipient_hash_key set inner_key = %s, outer_key = %s returning 1", *key)
    both = _Both(plain, timescale)
    events = random_events(random.Random(seed), "w", 300, NOW - timedelta(days=46))
    thirds = [events[: len(events) // 3], events[len(events) // 3 : len(events) * 2 // 3], events[len(events) * 2 // 3 :]]
    both.load(thirds[0], NOW - timedelta(days=40))
    both.load(thirds[1], NOW - timedelta(days=20))
    both.build(*WITHOUT_TESTS)

    # rows are there, and no build reads them again
    said: list[str] = []
    make_hypertables(timescale, said.append)
    make_hypertables(timescale, said.append)
    assert said == [
        "raw.email_events is a hypertable now",
        "raw.webhook_payloads is a hypertable now",
        "raw.email_events was a hypertable already",
        "raw.webhook_payloads was a hypertable already",
    ]
    assert migrate(timescale) == []
    assert rows(timescale, "select count(distinct loaded_xid) > 1 from raw.email_events") == [(True,)]
    both.build(*WITHOUT_TESTS)
    assert set(current_rows.written_by_last_batch(timescale).values()) == {(0, 0)}
    both.load(thirds[2], NOW - timedelta(hours=2))
    both.build()
    both.check()

    # a trigger gives every row the transaction that loads it, in chunks too
    load = "insert into raw.email_events (event_id, loaded_xid, loaded_at) values ('named', '3', %s) returning loaded_xid <> '3'"
    for settings in both.each:
        assert rows(settings, load, NOW - timedelta(days=30)) == [(True,)]

    # the columnstore, and rows that come for an old chunk
    converted = convert_old_chunks(timescale, NEVER)
    assert len(converted) >= 4, converted
    assert convert_old_chunks(timescale, NEVER) == []
    late = [Event("late", "w", "m_late", "sent", NOW - timedelta(days=30), "c0")]
    both.load(late, NOW - timedelta(days=20))
    both.build()
    both.check()
    assert convert_old_chunks(timescale, NEVER) != []
    both.check()

    # everything again from the columnstore
    both.build(*WITHOUT_TESTS, "--vars", "recompute: true")
    both.check()

    # retention: a chunk as a whole, and a part of another one that is in the columnstore
    for days in (30, 18):
        removed = [
            remove_old_rows(dataclasses.replace(settings, retain_payloads=days, retain_events=days), NEVER)
            for settings in both.each
        ]
        assert removed[0] == removed[1]
        assert removed[0]["email_events"] > 0
        assert removed[0]["webhook_payloads"] > 0
    both.build()
    both.check()
    assert rows(timescale, "select count(*) from raw.email_events") == rows(plain, "select count(*) from raw.email_events")

    # a person is erased from the columnstore, and the counts stay
    convert_old_chunks(timescale, NEVER)
    of_person = "select count(*) from raw.webhook_payloads where payload::text like '%%ann0@%%'"
    assert rows(timescale, of_person) != [(0,)]
    before = answers(timescale)
    erased = mailmart(timescale, "erase", "--recipient", "ann0@example.com", "--yes")
    assert erased.exit_code == 0, erased.output
    assert rows(timescale, of_person) == [(0,)]
    assert answers(timescale) == before

    # an erased workspace is refused in chunks, too
    for settings in both.each:
        rows(settings, "insert into app.erased_workspaces (workspace_id) values ('gone') returning 1")
        rows(settings, "select app.refuse_erased_workspaces()")
        load_events(settings, [Event("refused", "gone", "m", "sent", NOW)], NOW - timedelta(days=1))
        assert rows(settings, "select count(*) from raw.email_events where workspace_id = 'gone'") == [(0,)]
        rows(settings, "select app.allow_erased_workspace('gone')")


@needs_timescale
def test_the_apache_licence_has_no_columnstore(timescale: Settings, caplog: pytest.LogCaptureFixture) -> None:
    if rows(timescale, "select current_setting('timescaledb.license')") != [("apache",)]:
        pytest.skip("the server has the licence of Timescale")
    make_hypertables(timescale, print)
    load_events(timescale, [Event("e", "w", "m", "sent", NOW)], NOW - timedelta(days=30))
    assert convert_old_chunks(timescale, NEVER) == []
    assert caplog.text == ""
    assert convert_old_chunks(dataclasses.replace(timescale, columnstore_after=7), NEVER) == []
    assert "the columnstore needs the licence of Timescale" in caplog.text


def test_a_server_without_the_extension_says_so(make_database: MakeDatabase) -> None:
    settings = make_database()
    with pytest.raises(MailmartError, match="does not have the extension timescaledb") as refused:
        make_hypertables(settings, print)
    assert "TimescaleDB" in refused.value.hint
    # nothing of it is in the way
    assert convert_old_chunks(settings, NEVER) == []
