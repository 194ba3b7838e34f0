"""Rows of raw.email_events that are compressed have the same values as before: the SQL functions, called without dbt."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from api.builds.compression import Pace, compress_old_rows
from api.builds.retention import Pace as RetentionPace
from api.builds.retention import remove_old_rows
from api.db.connection import connect
from api.settings import Settings
from tests.support import compression
from tests.support.killing import kill_waiting, lock_rows
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until

NOW = datetime.now(UTC)
NEVER = threading.Event()
SMALL = Pace(rows=10, seconds_to_wait=0)
LARGE = Pace(rows=1_000, seconds_to_wait=0)
COLUMNS = (
    "event_id, workspace_id, message_id, event_type, occurred_at, campaign_id, mailbox_id, domain_id, recipient_hash,"
    " recipient_domain, smtp_status, smtp_code, diagnostic, is_machine, url, user_agent, loaded_at, loaded_xid, sequence_id,"
    " step, variant, tags"
)
IN_THE_LOG = "select count(*) from raw.email_events"


@pytest.fixture
def owner(settings: Settings) -> Iterator[psycopg.Connection]:
    """A connection of the owner, which commits each statement."""
    with connect(settings, "mailmart_owner", autocommit=True) as connection:
        yield connection


def value(connection: psycopg.Connection, statement: str, *parameters: object) -> Any:
    row = connection.execute(statement.encode(), parameters).fetchone()
    return row[0] if row else None


def stored(connection: psycopg.Connection) -> Counter[str]:
    """All rows, in the log or in blocks, as texts."""
    query = f"""
        select (logged.*)::text from (
            select {COLUMNS} from raw.email_events union all select {COLUMNS} from raw.compressed_email_events
        ) as logged
    """
    return Counter(row for (row,) in connection.execute(query.encode()))


def load(connection: psycopg.Connection, rows: int, days: float, workspace: str | None = "w", **more: object) -> None:
    """Loads events, each a second later than the one before, of messages with several events at one time."""
    columns = {"event_type": "sent", "occurred_at": NOW, **more}
    connection.execute(
        f"insert into raw.email_events (event_id, workspace_id, message_id, loaded_at, {', '.join(columns)})"
        f" select 'e' || number, %s, 'm' || number %% 7, %s + number * interval '1 second', {', '.join(['%s'] * len(columns))}"
        " from generate_series(1, %s) as number",
        (workspace, NOW - timedelta(days=days), *columns.values(), rows),
    )


NEW_ROWS = f"""
    select count(*) from (
        select {COLUMNS} from raw.email_events union all select {COLUMNS} from raw.compressed_email_events
    ) as logged
    cross join app.raw_states_of_run('production', 'fct_email_events', %s) as states
    where
        pg_visible_in_snapshot(logged.loaded_xid, states.until)
        and not coalesce(pg_visible_in_snapshot(logged.loaded_xid, states.since), false)
"""


def build(connection: psycopg.Connection) -> int:
    """Publishes a build, and returns how many rows were new to it."""
    batch = int(value(connection, "select app.begin_batch('production', gen_random_uuid()::text, 'build', 'same')"))
    connection.execute("select app.adopt_restored_rows()")
    connection.execute("select app.record_raw_state(%s)", (batch,))
    new_rows = int(value(connection, NEW_ROWS, batch))
    connection.execute(
        "insert into app.model_runs (target, model, batch_id, raw_batch_id, started_at)"
        " values ('production', 'fct_email_events', %s, %s, now())",
        (batch, batch),
    )
    connection.execute("select app.publish_batch(%s, %s, '{\"nodes\": {}}')", (batch, batch))
    connection.execute("update app.batches set status = 'published' where batch_id = %s", (batch,))
    return new_rows


def compress(settings: Settings, pace: Pace = LARGE) -> int:
    return compression.compress(settings, pace=pace, of_table="email_events")


ODD_ROWS: tuple[dict[str, object], ...] = (
    {},
    {"tags": [], "url": "", "diagnostic": ""},
    {"tags": ["", "NULL", "a,b", '"', "\\", "{}", "ä\n", " "], "step": "", "smtp_code": -1},
    {"occurred_at": "infinity", "is_machine": True},
    {"occurred_at": "-infinity", "is_machine": False},
    {"occurred_at": "0001-01-01 BC", "recipient_hash": "ABCDEF"},
    {"recipient_hash": "", "recipient_domain": "people.example"},
    {"recipient_hash": "abc"},
    {"recipient_hash": "jane@people.example"},
    {"diagnostic": "long ä " * 2_000, "user_agent": "x" * 3_000},
    {"campaign_id": "c", "mailbox_id": "b", "domain_id": "d", "sequence_id": "s", "variant": "v", "smtp_status": "5.1.1"},
)


def test_rows_come_back_as_they_were(settings: Settings, owner: psycopg.Connection, server: PostgresServer) -> None:
    for workspace in ("w", "", None):
        for columns in ODD_ROWS:
            load(owner, 5, 3, workspace, **columns)
    load(owner, 40, 2, "hexadecimal", recipient_hash="00ffab")
    owner.execute("insert into raw.email_events (loaded_at) select '-infinity' from generate_series(1, 30)")
    owner.execute("insert into raw.email_events (loaded_at) select 'infinity' from generate_series(1, 30)")
    load(owner, 30, -9_000)
    # tags are kept as texts
    owner.execute("update raw.email_events set tags = array[null, 'a', null] where event_id = 'e3'")
    owner.execute("update raw.email_events set tags = '{{a,b},{c,d}}' where event_id = 'e4'")
    build(owner)
    before = stored(owner)
    database = value(owner, "select quote_ident(current_database())")
    with server.as_superuser() as superuser:
        for name, other in {"datestyle": "SQL, DMY", "timezone": "Asia/Kathmandu", "enable_presorted_aggregate": "off"}.items():
            superuser.execute(f"alter database {database} set {name} = '{other}'".encode())
    # a row of the future counts from the build that has read it
    owner.execute("update app.batches set started_at = started_at - interval '2 days'")
    assert compress(settings) == before.total()
    assert value(owner, IN_THE_LOG) == 0
    assert stored(owner) == before
    assert value(owner, "select sum(row_count) from app.compressed_raw_events") == before.total()
    as_bytes = "select string_agg(workspace_id, ' ') from app.compressed_raw_events where recipient_hash_bytes is not null"
    assert value(owner, as_bytes) == "hexadecimal"
    assert compress(settings) == 0


def test_what_has_to_stay_stays(settings: Settings, owner: psycopg.Connection) -> None:
    load(owner, 30, 3)
    load(owner, 30, 0.5, event_type="young")
    load(owner, 19, 3, "small")
    load(owner, 1, 3, diagnostic="x" * 30_000)
    load(owner, 1, 3, tags=["".join(map(str, range(6_000)))])
    assert compress(settings) == 0
    build(owner)
    load(owner, 30, 3, event_type="unread")
    before = stored(owner)
    with connect(settings, "mailmart_owner") as other:
        other.execute("insert into app.batches (target, invocation_id, command) values ('production', 'i', 'build')")
        other.commit()
        assert compress_old_rows(dataclasses.replace(settings, compress_after=1), NEVER, SMALL) is None
        other.execute("delete from app.batches where invocation_id = 'i'")
    assert compress(settings) == 30
    assert stored(owner) == before
    build(owner)
    assert compress(settings) == 30
    assert (
        value(owner, "select string_agg(distinct event_type, ' ') from raw.email_events where workspace_id = 'w'") == "sent young"
    )
    # a log that an operator has partitioned, and a column of their own
    owner.execute(
        """
        alter table raw.email_events rename to unpartitioned;
        create table raw.email_events (like raw.unpartitioned including defaults, note text) partition by range (loaded_at);
        create table raw.old_part partition of raw.email_events for values from (minvalue) to (now() - interval '5 days');
        create table raw.new_part partition of raw.email_events for values from (now() - interval '5 days') to (maxvalue)
        """
    )
    load(owner, 30, 9, note="of the operator")
    load(owner, 30, 3, note="of the operator")
    build(owner)
    # a hypertable has its columnstore
    with owner.transaction(force_rollback=True):
        owner.execute("create or replace function app.is_hypertable(raw_log regclass) returns boolean language sql return true")
        assert value(owner, "select compressed from app.compress_raw_events('production', now() - interval '1 day', 9)") == 0
    assert compress(settings) == 60
    assert value(owner, "select count(*) from raw.compressed_email_events where note = 'of the operator'") == 60
    assert value(owner, IN_THE_LOG) == 0


def test_nothing_is_lost_if_it_is_killed(settings: Settings, owner: psycopg.Connection) -> None:
    load(owner, 150, 3)
    build(owner)
    before = stored(owner)
    code = (
        "import dataclasses, threading\nfrom api.builds.compression import Pace, compress_old_rows\n"
        "from api.settings import Settings\n"
        "settings = dataclasses.replace(Settings.from_environment(), compress_after=1)\n"
        "compress_old_rows(settings, threading.Event(), Pace(rows=10, seconds_to_wait=600))"
    )
    with connect(settings, "mailmart_owner") as other:
        # of the third transaction
        lock_rows(other, "raw.email_events", "event_id = 'e120'")
        kill_waiting(settings, code, other, lambda: value(owner, IN_THE_LOG) == 50)
        assert stored(owner) == before
    found: list[int] = []

    def is_compressed() -> bool:
        # nothing is compressed while the killed process's session holds the run's lock
        compressed = compress_old_rows(dataclasses.replace(settings, compress_after=1), NEVER, SMALL)
        if compressed is not None:
            found.append(compressed["email_events"])
        return compressed is not None

    wait_until(is_compressed, "the lock of the killed run is free")
    assert found == [50]
    assert stored(owner) == before


def test_restored_blocks_are_read_once(settings: Settings, owner: psycopg.Connection) -> None:
    load(owner, 30, 3)
    load(owner, 30, 2)
    assert build(owner) == 60
    assert compress(settings) == 60
    assert build(owner) == 0
    is_new = "select app.has_new_compressed_events(raw_snapshot) from app.batches order by batch_id desc limit 1"
    assert value(owner, is_new) is False
    before = stored(owner)
    # the system before had counted further
    owner.execute(
        "update app.compressed_raw_events set loaded_xid[2] = '1000000000000000', newest_loaded_xid = '1000000000000000'"
        " where block_id = (select min(block_id) from app.compressed_raw_events)"
    )
    owner.execute("update app.batches set system_identifier = 1")
    assert value(owner, is_new) is True
    assert build(owner) == 60
    assert value(owner, "select count(*) from raw.compressed_email_events where loaded_xid >= '1000000000000000'") == 0
    newest = "select newest_loaded_xid = (select max(xid) from unnest(loaded_xid) as xid) from app.compressed_raw_events"
    assert {row for (row,) in owner.execute(newest.encode())} == {True}
    assert stored(owner).total() == before.total()
    assert value(owner, is_new) is False
    assert build(owner) == 0


def test_the_view_has_the_columns_of_the_log_in_their_order(settings: Settings, owner: psycopg.Connection) -> None:
    def columns(relation: str) -> str:
        names = value(
            owner,
            "select string_agg(attname, ' ' order by attnum) from pg_attribute"
            f" where attrelid = 'raw.{relation}'::regclass and attnum > 0 and not attisdropped",
        )
        return str(names)

    assert columns("compressed_email_events") == columns("email_events")
    owner.execute("alter table raw.email_events add column note text")
    load(owner, 30, 3)
    build(owner)
    assert compress(settings) == 30
    assert columns("compressed_email_events") == columns("email_events")


def test_old_rows_of_a_block_are_removed(settings: Settings, owner: psycopg.Connection) -> None:
    pace = RetentionPace(rows=5, pages=1, seconds_to_wait=0)
    load(owner, 30, 9)
    load(owner, 30, 5)
    load(owner, 20, -9_000, event_type="future")
    build(owner)
    # the same in the log alone
    owner.execute("create table raw.copied as select * from raw.email_events")
    owner.execute("update app.batches set started_at = started_at - interval '2 days'")
    assert compress(settings) == 80
    assert value(owner, "select count(*) from app.compressed_raw_events") == 2
    # read by no publication
    load(owner, 30, 9, event_type="unread")
    retain = dataclasses.replace(settings, retain_events=7)
    assert remove_old_rows(retain, NEVER, pace=pace)["email_events"] == 30
    assert remove_old_rows(retain, NEVER, pace=pace)["email_events"] == 0
    assert stored(owner) == Counter(
        row
        for (row,) in owner.execute(
            f"""
            select (logged.*)::text from (
                select {COLUMNS} from raw.copied where loaded_at > now() - interval '7 days'
                union all select {COLUMNS} from raw.email_events
            ) as logged
            """.encode()
        )
    )
    # a build that began before then has read all of them
    owner.execute("update app.batches set started_at = started_at - interval '7 days'")
    assert remove_old_rows(retain, NEVER, pace=pace)["email_events"] == 50
    assert value(owner, "select count(*) from app.compressed_raw_events") == 0
    assert value(owner, "select total_rows_removed from app.retention where relation = 'email_events'") == 80
