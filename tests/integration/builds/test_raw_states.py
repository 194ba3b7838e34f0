"""Which rows of the raw logs a build reads, and up to which time they are complete: the SQL functions, called without dbt."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from api.builds.repository import published_since
from api.builds.run_repository import NightlyRunRepository
from api.db.connection import connect
from api.settings import Settings
from tests.support.postgres import PostgresServer

NUMBERS = itertools.count(1)
NEW_ROWS = """
    select event_id from raw.email_events
    cross join app.raw_states_of_run('production', 'fct_email_events', %s) as states
    where
        pg_visible_in_snapshot(loaded_xid, states.until)
        and not coalesce(pg_visible_in_snapshot(loaded_xid, states.since), false)
    order by event_id
"""


@pytest.fixture
def owner(settings: Settings) -> Iterator[psycopg.Connection]:
    """A connection of the owner, which commits each statement."""
    with connect(settings, "mailmart_owner", autocommit=True) as connection:
        yield connection


@pytest.fixture
def writer(settings: Settings) -> Iterator[psycopg.Connection]:
    """A second connection, which has to commit."""
    with connect(settings, "mailmart_owner") as connection:
        yield connection


def value(connection: psycopg.Connection, statement: str, *parameters: object) -> Any:
    row = connection.execute(statement.encode(), parameters).fetchone()
    return row[0] if row else None


def load(connection: psycopg.Connection, event_id: str, loaded_at: datetime | None = None) -> None:
    connection.execute(
        "insert into raw.email_events (event_id, loaded_at) values (%s, coalesce(%s, clock_timestamp()))", (event_id, loaded_at)
    )


def begin(connection: psycopg.Connection) -> int:
    """Begins a build, as dbt's hook does. The build before it must have ended."""
    build = f"build {next(NUMBERS)}"
    batch = int(value(connection, "select app.begin_batch('production', %s, 'build', 'same')", build))
    connection.execute("select app.adopt_restored_rows()")
    connection.execute("select app.record_raw_state(%s)", (batch,))
    return batch


def read(connection: psycopg.Connection) -> list[str]:
    """The events that a build reads which begins and ends now."""
    batch = begin(connection)
    events = [event for (event,) in connection.execute(NEW_ROWS, (batch,))]
    connection.execute(
        "insert into app.model_runs (target, model, batch_id, raw_batch_id, started_at)"
        " values ('production', 'fct_email_events', %s, app.raw_batch_of('production', 'fct_email_events', %s), now())",
        (batch, batch),
    )
    connection.execute("update app.batches set status = 'built' where batch_id = %s", (batch,))
    return events


def test_each_row_is_read_once_however_late_its_transaction_ends(owner: psycopg.Connection, writer: psycopg.Connection) -> None:
    load(owner, "before")
    load(writer, "open")
    load(owner, "after")
    assert read(owner) == ["after", "before"]
    load(owner, "behind", datetime.now(UTC) - timedelta(days=2))
    assert read(owner) == ["behind"]
    writer.commit()
    assert read(owner) == ["open"]
    load(writer, "rolled back")
    assert read(owner) == []
    writer.rollback()
    assert read(owner) == []


def test_rows_of_a_savepoint_have_the_id_of_their_transaction(owner: psycopg.Connection, writer: psycopg.Connection) -> None:
    with writer.transaction():
        load(writer, "outside")
        with writer.transaction():
            load(writer, "inside")
        assert read(owner) == []
    writer.commit()
    assert read(owner) == ["inside", "outside"]


def test_a_prepared_transaction_is_read_when_it_is_committed(owner: psycopg.Connection, writer: psycopg.Connection) -> None:
    if value(owner, "show max_prepared_transactions") == "0":
        pytest.skip("the server has max_prepared_transactions = 0")
    load(writer, "prepared")
    writer.execute("prepare transaction 'loading'")
    assert read(owner) == []
    owner.execute("commit prepared 'loading'")
    assert read(owner) == ["prepared"]


def test_a_named_id_is_replaced_by_that_of_the_transaction(owner: psycopg.Connection) -> None:
    read(owner)
    with owner.cursor().copy("copy raw.email_events (event_id, loaded_xid) from stdin") as copy:
        copy.write_row(["archived", 3])
    owner.execute("insert into raw.webhook_payloads (provider, payload, loaded_xid) values ('ses', '{}', '9000000000')")
    assert read(owner) == ["archived"]
    assert value(owner, "select loaded_xid < pg_snapshot_xmax(pg_current_snapshot()) from raw.webhook_payloads") is True


def restore(connection: psycopg.Connection, event_id: str, xid: int) -> None:
    """Leaves a row as pg_restore does, which makes triggers after it has copied the rows."""
    with connection.transaction():
        connection.execute("alter table raw.email_events disable trigger set_loaded_xid")
        connection.execute("insert into raw.email_events (event_id, loaded_xid) values (%s, %s::text::xid8)", (event_id, xid))
        connection.execute("alter table raw.email_events enable always trigger set_loaded_xid")


def test_make_database_system_reads_everything_once(owner: psycopg.Connection) -> None:
    load(owner, "read")
    assert read(owner) == ["read"]
    # the dump has rows that the last build has not read, and the system before had counted further
    restore(owner, "of a low id", 3)
    restore(owner, "of a high id", 10**15)
    owner.execute("update app.batches set system_identifier = 1")
    assert read(owner) == ["of a high id", "of a low id", "read"]
    load(owner, "new")
    assert read(owner) == ["new"]


def test_a_server_that_hides_its_identifier_reads_everything_if_it_has_counted_less(owner: psycopg.Connection) -> None:
    owner.execute(
        "create or replace function app.system_identifier() returns bigint language sql stable"
        " set search_path = pg_catalog, pg_temp as 'select 0::bigint'"
    )
    load(owner, "read")
    assert read(owner) == ["read"]
    load(owner, "new")
    assert read(owner) == ["new"]
    # the database was restored into a server that has counted less than the one before
    owner.execute("update app.batches set raw_snapshot = '1000000000000000:1000000000000000:'")
    load(owner, "after")
    assert read(owner) == ["after", "new", "read"]
    load(owner, "newest")
    assert read(owner) == ["newest"]


def test_other_models_read_what_the_events_model_has_read(owner: psycopg.Connection) -> None:
    read(owner)
    batch = begin(owner)
    assert value(owner, "select app.raw_batch_of('production', 'fct_rejected_events', %s)", batch) == batch - 1
    assert value(owner, "select app.raw_batch_of('production', 'fct_email_events', %s)", batch) == batch
    # nothing is known of another target, nor outside of a build
    assert value(owner, "select since from app.raw_states_of_run('dev', 'fct_email_events', %s)", batch) is None
    assert value(owner, "select until from app.raw_states_of_run('production', 'fct_email_events', 0)") is None


COMPLETE = "select complete_until from app.batches order by batch_id desc limit 1"


def test_a_build_is_complete_up_to_the_start_of_the_oldest_open_load(
    owner: psycopg.Connection, writer: psycopg.Connection
) -> None:
    read(owner)
    first = value(owner, COMPLETE)
    assert first == value(owner, "select started_at from app.batches")
    load(writer, "open")
    began = value(writer, "select now()")
    # what only reads, or writes elsewhere, does not count
    read(owner)
    assert value(owner, COMPLETE) == began > first
    writer.commit()
    load(writer, "open again")
    # begun before the build before, but not loading then
    read(owner)
    assert value(owner, COMPLETE) > began


def test_a_load_whose_start_is_hidden_does_not_move_the_time_back_or_forth(
    owner: psycopg.Connection, server: PostgresServer, settings: Settings
) -> None:
    read(owner)
    first = value(owner, COMPLETE)
    database = str(settings.database_url).rsplit("/", 1)[1].split("?")[0]
    with psycopg.connect(server.superuser, dbname=database) as other:
        other.execute(sql.SQL("insert into raw.email_events (event_id) values ('hidden')"))
        assert read(owner) == []
        assert value(owner, COMPLETE) == first
        other.commit()
    assert read(owner) == ["hidden"]
    assert value(owner, COMPLETE) > first


def test_a_nightly_run_is_done_although_a_load_was_open(
    owner: psycopg.Connection, writer: psycopg.Connection, settings: Settings
) -> None:
    load(writer, "open")
    due = value(owner, "select clock_timestamp()")
    batch = begin(owner)
    result = '{"first": {"name": "first", "status": "success"}}'
    end = "select app.end_batch(%s, %s, '{\"first\": []}', '{\"nodes\": {}}', true)"
    assert value(owner, end, batch, result) == "published"
    assert value(owner, "select data_as_of from app.publications") < due
    assert published_since(owner, settings.target, due) == batch
    assert not NightlyRunRepository(owner, settings.target).is_open(due)


def test_a_table_is_analyzed_if_its_size_has_changed(owner: psycopg.Connection) -> None:
    analyze = "select app.analyze_if_changed('raw.email_events')"
    assert value(owner, analyze) is True
    assert value(owner, analyze) is False
    load_many = "insert into raw.email_events (event_id) select repeat('e', 100) from generate_series(1, %s)"
    owner.execute(load_many, (10,))
    assert value(owner, analyze) is False
    owner.execute(load_many, (2000,))
    assert value(owner, analyze) is True
    assert value(owner, "select reltuples from pg_class where oid = 'raw.email_events'::regclass") == 2010
    owner.execute("truncate raw.email_events")
    owner.execute(load_many, (2010,))
    assert value(owner, analyze) is True
    # a vacuum knows the size, too; the statistics of the columns are missing
    owner.execute("create table raw.indexed as select * from raw.email_events")
    owner.execute("vacuum raw.indexed")
    assert value(owner, "select reltuples from pg_class where oid = 'raw.indexed'::regclass") == 2010
    assert value(owner, "select app.analyze_if_changed('raw.indexed')") is True
    assert value(owner, "select app.analyze_if_changed('raw.indexed')") is False
