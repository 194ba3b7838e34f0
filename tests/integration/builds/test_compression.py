"""Compression of old events: kills lose and double nothing, a build is never in its way, and each role sees its own events."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.builds.compression import DueCompression, Pace, compress_old_rows
from api.builds.repository import rollback
from api.db.connection import connect
from api.settings import Settings
from tests.integration.conftest import MakeWarehouse
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.command import mailmart
from tests.support.compression import SMALL, compress, compress_everything, compressed_events, publish
from tests.support.dbt import ROWS, WITHOUT_TESTS, run_dbt
from tests.support.killing import kill_waiting, lock_rows
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(900)

NOW = datetime.now(UTC)
LOADED = NOW - timedelta(days=20)
MESSAGES = 400
KINDS = ("sent", "delivered", "opened")
NEVER = threading.Event()
CURRENT = "valid_to = 9223372036854775807"


def mail() -> list[Event]:
    """Messages of two workspaces and two months, each of three events."""
    return [
        Event(
            f"{workspace}{number} {kind}", workspace, f"m{number}", kind, LOADED - timedelta(days=number % 40, minutes=9 - place),
            "c", "b", "d", "people.example", url="https://example.com/a",
        )
        for workspace in ("w", "v")
        for number in range(MESSAGES // 2)
        for place, kind in enumerate(KINDS)
    ]  # fmt: skip


def fill(settings: Settings) -> None:
    load_events(settings, mail(), LOADED)
    run_dbt(settings, *ROWS)
    publish(settings)


@pytest.fixture
def warehouse(make_warehouse: MakeWarehouse) -> Settings:
    return make_warehouse("compression", fill)


def rows(settings: Settings, statement: str, *parameters: object, role: str = "mailmart_owner") -> list[tuple[Any, ...]]:
    with connect(settings, role) as connection:  # type: ignore[arg-type]
        return connection.execute(statement.encode(), parameters).fetchall()


def drop(settings: Settings, table: str) -> None:
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(f"drop table {table} cascade".encode())


def set_status(settings: Settings, status: str) -> None:
    """Of the last build."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            "update app.batches set status = %s where batch_id = (select max(batch_id) from app.batches)", (status,)
        )


def events(settings: Settings, relation: str = "core.all_email_events") -> list[str]:
    """Every row, from its table and from blocks."""
    return [row for (row,) in rows(settings, f"select to_jsonb(events)::text from {relation} as events order by 1")]


def test_all_of_a_message_or_nothing_is_compressed(warehouse: Settings) -> None:
    before = events(warehouse, "core.fct_email_events")
    # one event of a message is new, and one that is not published yet
    load_events(warehouse, [Event("new", "w", "m1", "clicked", NOW, "c")], NOW)
    run_dbt(warehouse, *ROWS)
    # the last build is not published: it may be continued
    assert compress(warehouse) == 0
    publish(warehouse)
    assert compress(warehouse) == 3 * (MESSAGES - 1)
    assert rows(warehouse, "select distinct workspace_id, message_id from core.fct_email_events") == [("w", "m1")]
    # the rest is in full blocks: two workspaces of two or three months
    found = rows(warehouse, "select workspace_id, sent_month, sum(row_count), count(*) from app.compressed_events group by 1, 2")
    months = {event.occurred_at.replace(day=1).date() for event in mail() if event.occurred_at}
    assert {(workspace, month) for workspace, month, _, _ in found} == {(name, month) for name in "wv" for month in months}
    assert all(blocks == 1 for _, _, _, blocks in found)
    assert [row for row in events(warehouse) if '"new"' not in row] == before
    # again: nothing is left
    assert compress(warehouse) == 0


def test_a_late_event_takes_out_its_message_only(warehouse: Settings) -> None:
    compress(warehouse)
    load_events(warehouse, [Event("late", "w", "m7", "replied", NOW, "c"), Event("w8 sent", "w", "m8", "sent", NOW)], NOW)
    run_dbt(warehouse, *ROWS)
    assert rows(warehouse, "select message_id, count(*) from core.fct_email_events group by 1 order by 1") == [
        ("m7", 4),
        ("m8", 3),
    ]
    assert rows(warehouse, f"select message_id, is_replied from core.fct_messages where is_replied and {CURRENT}") == [
        ("m7", True)
    ]
    # what was known is reported, as always
    assert rows(warehouse, "select event_id, problem from core.fct_rejected_events") == [("w8 sent", "conflicting_duplicate")]
    inserted = "select rows_inserted from app.model_runs where model = 'fct_email_events' order by batch_id desc limit 1"
    assert rows(warehouse, inserted) == [(1,)]
    publish(warehouse)
    assert compress(warehouse) == 3
    assert len(events(warehouse)) == 3 * MESSAGES + 1


def test_an_id_that_another_message_takes(warehouse: Settings) -> None:
    compress(warehouse)
    # Not found: its message is not the one that has the id in a block. So it counts, which is documented.
    load_events(warehouse, [Event("w9 sent", "w", "another", "sent", NOW)], NOW)
    run_dbt(warehouse, *ROWS)
    publish(warehouse)
    # taking out the first one makes no build fail, and loses no event
    load_events(warehouse, [Event("late", "w", "m9", "replied", NOW, "c")], NOW)
    run_dbt(warehouse, *ROWS)
    ids = "select message_id, event_id from core.fct_email_events where event_type = 'sent' order by 1"
    (_, taken), (_, changed) = rows(warehouse, ids)
    assert taken == "w9 sent"
    assert changed.startswith("w9 sent:")
    # a backfill puts it right
    run_dbt(warehouse, *ROWS, "--vars", "recompute: true")
    assert rows(warehouse, f"select message_id from core.fct_email_events where event_id = 'w9 sent' and {CURRENT}") == [("m9",)]
    assert rows(warehouse, f"select count(*) from core.fct_email_events where {CURRENT}") == [(3 * MESSAGES + 1,)]
    assert rows(warehouse, f"select count(*) from core.fct_messages where {CURRENT}") == [(MESSAGES,)]


def test_killed_at_any_moment_nothing_is_lost(warehouse: Settings) -> None:
    before = events(warehouse, "core.fct_email_events")
    code = (
        "import threading\nfrom api.builds.compression import Pace, compress_old_rows\nfrom api.settings import Settings\n"
        "import dataclasses\nsettings = dataclasses.replace(Settings.from_environment(), compress_after=1)\n"
        "compress_old_rows(settings, threading.Event(), Pace(rows=100, seconds_to_wait=60))"
    )
    with connect(warehouse, "mailmart_owner") as other:
        # in the middle: the rows of the last workspace
        lock_rows(other, "core.fct_email_events", "workspace_id = 'w' and message_id = 'm50'")
        kill_waiting(warehouse, code, other)
    part = compressed_events(warehouse)
    assert 0 < part < 3 * MESSAGES
    assert events(warehouse) == before
    compress(warehouse)
    assert compressed_events(warehouse) == 3 * MESSAGES
    assert events(warehouse) == before

    # a build that has taken out and is killed before its end
    load_events(warehouse, [Event("late", "w", "m50", "replied", NOW, "c")], NOW)
    with connect(warehouse, "mailmart_owner") as other:
        # in the middle of taking out: the block is deleted, and its rows are not in the table yet
        other.execute("lock table core.fct_email_events in share mode")
        build = threading.Thread(target=run_dbt, args=(warehouse, *ROWS), kwargs={"check": False})
        build.start()
        blocked = "select pid from pg_locks where not granted and %s = any(pg_blocking_pids(pid))"
        wait_until(lambda: other.execute(blocked, (other.info.backend_pid,)).fetchone(), "the build waits for the table")
        (pid,) = other.execute(blocked, (other.info.backend_pid,)).fetchone() or (0,)
        with connect(warehouse, None, autocommit=True) as login:
            login.execute("select pg_terminate_backend(%s)", (pid,))
        build.join()
    assert compressed_events(warehouse) == 3 * MESSAGES
    assert events(warehouse) == before
    run_dbt(warehouse, *ROWS)
    assert [row for row in events(warehouse) if '"late"' not in row] == before
    assert compressed_events(warehouse) == 3 * MESSAGES - 3


def test_nothing_is_compressed_while_a_build_runs_or_after_a_rollback(warehouse: Settings) -> None:
    settings = dataclasses.replace(warehouse, compress_after=1)
    rows(
        warehouse,
        "update app.batches set status = 'running' where batch_id = (select max(batch_id) from app.batches) returning 1",
    )
    assert compress_old_rows(settings, NEVER, SMALL) is None
    set_status(warehouse, "published")
    run_dbt(warehouse, *ROWS)
    publish(warehouse)
    rollback(warehouse)
    assert compress(warehouse) == 0
    assert compressed_events(warehouse) == 0


def test_it_is_due_once_after_each_nightly_run(warehouse: Settings) -> None:
    settings = dataclasses.replace(warehouse, compress_after=1, nightly_at=(NOW - timedelta(hours=1)).time())
    job = DueCompression(settings, NEVER, Pace(rows=100, seconds_to_wait=0))
    rows(warehouse, "update app.batches set started_at = started_at - interval '2 hours' returning 1")
    # the nightly run comes first
    job.run()
    assert compressed_events(warehouse) == 0
    rows(warehouse, "update app.batches set started_at = started_at + interval '2 hours' returning 1")
    job.run()
    assert compressed_events(warehouse) == 3 * MESSAGES
    rows(warehouse, "select app.take_out_events('production', 'core.fct_email_events')")
    job.run()
    assert compressed_events(warehouse) == 0
    # without the setting, never
    DueCompression(warehouse, NEVER).run()
    assert compressed_events(warehouse) == 0


def test_a_new_table_of_core_is_made_from_all_events(warehouse: Settings) -> None:
    counted = "select workspace_id, event_date, event_type, events from core.fct_event_days order by 1, 2, 3"
    before = rows(warehouse, counted), rows(warehouse, "select count(*) from core.fct_messages")
    compress(warehouse)
    # as after an upgrade with a new model
    drop(warehouse, "core.fct_event_days")
    run_dbt(warehouse, *ROWS)
    assert (rows(warehouse, counted), rows(warehouse, "select count(*) from core.fct_messages")) == before
    assert compressed_events(warehouse) == 0
    publish(warehouse)
    compress(warehouse)
    messages = f"select message_id, is_opened from core.fct_messages where {CURRENT} order by workspace_id, message_id"
    expected = rows(warehouse, messages)
    drop(warehouse, "core.fct_messages")
    run_dbt(warehouse, *ROWS)
    assert rows(warehouse, messages) == expected
    # the events themselves are made anew from the raw log
    publish(warehouse)
    compress(warehouse)
    drop(warehouse, "core.fct_email_events")
    run_dbt(warehouse, *ROWS)
    assert compressed_events(warehouse) == 0
    assert rows(warehouse, "select count(*) from core.fct_email_events") == [(3 * MESSAGES,)]


def test_after_a_restore_everything_is_looked_up(warehouse: Settings) -> None:
    compress(warehouse)
    # in another database system, all raw rows are read again
    rows(warehouse, "update app.batches set system_identifier = 1 returning 1")
    run_dbt(warehouse, *ROWS)
    assert compressed_events(warehouse) == 0
    written = "select model from app.model_runs where batch_id = (select max(batch_id) from app.batches) and rows_inserted > 0"
    assert rows(warehouse, written) == []
    assert rows(warehouse, "select count(*) from core.fct_email_events") == [(3 * MESSAGES,)]


def test_who_reads_the_table_reads_all_events_and_no_more(warehouse: Settings, server: PostgresServer) -> None:
    compress(warehouse)
    count = "select workspace_id, count(*) from core.all_email_events group by 1 order by 1"
    database = str(conninfo_to_dict(str(warehouse.database_url))["dbname"])
    with psycopg.connect(make_conninfo(server.superuser, dbname=database)) as connection:
        connection.execute("insert into app.workspace_analysts (login, workspace_id) values (session_user, 'w')")
        connection.execute("set local role mailmart_analyst")
        assert connection.execute(count.encode()).fetchall() == [("v", 600), ("w", 600)]
        connection.execute("set local role mailmart_workspace_analyst")
        assert connection.execute(count.encode()).fetchall() == [("w", 600)]
        assert connection.execute("select distinct workspace_id from app.compressed_events").fetchall() == [("w",)]
        for role in ("mailmart_api", "mailmart_worker"):
            connection.rollback()
            connection.execute(f"set local role {role}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select from app.compressed_events")
        connection.rollback()


def test_another_warehouse_has_blocks_of_its_own(warehouse: Settings, server: PostgresServer) -> None:
    compress_everything(warehouse)
    dev = dataclasses.replace(warehouse, target="dev")
    database = str(conninfo_to_dict(str(warehouse.database_url))["dbname"])
    with psycopg.connect(make_conninfo(server.superuser, dbname=database)) as connection:
        connection.execute(sql.SQL("grant create on database {} to mailmart_owner").format(sql.Identifier(database)))
    run_dbt(dev, *WITHOUT_TESTS, "--exclude", "path:models/marts")
    publish(dev)
    assert rows(warehouse, "select count(*) from dev_core.fct_email_events") == [(3 * MESSAGES,)]
    assert compress_everything(dev) == 3 * MESSAGES
    load_events(warehouse, [Event("late", "w", "m7", "replied", NOW, "c")], NOW)
    run_dbt(dev, *ROWS)
    assert (compressed_events(dev), compressed_events(warehouse)) == (3 * MESSAGES - 3, 3 * MESSAGES)
    assert rows(warehouse, "select count(*) from dev_core.all_email_events") == [(3 * MESSAGES + 1,)]
    assert rows(warehouse, "select count(*) from core.all_email_events") == [(3 * MESSAGES,)]


def test_status_says_how_much(warehouse: Settings) -> None:
    assert "compressed" not in mailmart(warehouse, "batch", "status").output
    compress(warehouse)
    assert f"compressed: {3 * MESSAGES:,} events of core in " in mailmart(warehouse, "batch", "status").output


def test_each_block_is_unpacked_once(warehouse: Settings) -> None:
    """However many messages of a workspace are taken out: 600 of 10,000 took seconds when a block was unpacked for each."""
    with connect(warehouse, "mailmart_owner") as connection:
        for table in ("fct_email_events", "fct_messages"):
            names = [name for (name,) in connection.execute("select name from app.columns_to_compress(%s)", (f"core.{table}",))]
            new = {"message_id": "message_id || '-' || copies.number", "event_id": "event_id || '-' || copies.number"}
            connection.execute(
                f"insert into core.{table} (workspace_id, {', '.join(names)})"
                f" select workspace_id, {', '.join(new.get(name, name) for name in names)}"
                f" from core.{table} cross join generate_series(1, 50) as copies (number) where workspace_id = 'w'".encode()
            )
    compress(warehouse, pace=Pace(rows=10_000, seconds_to_wait=0))
    with connect(warehouse, "mailmart_owner") as connection:
        connection.execute("set local statement_timeout = '4s'")
        messages = "select workspace_id, message_id from core.fct_messages where message_id ~ '-[234]$'"
        assert connection.execute(
            "select app.take_out_events('production', 'core.fct_email_events', %s)", (messages,)
        ).fetchone() == (3 * 600,)
