"""The SQL functions that record and publish a build, called without dbt."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from api.builds.repository import rollback
from api.db.connection import connect
from api.settings import Settings
from tests.support.waiting import wait_for_waiting

PROJECT = {"seed": [], "first": ["seed", "source.raw"], "second": ["first"]}
VIEWS = "marts_served"


@pytest.fixture
def owner(settings: Settings) -> Iterator[psycopg.Connection]:
    """A connection of the owner, which commits each statement."""
    with connect(settings, "mailmart_owner") as connection:
        connection.autocommit = True
        yield connection


def value(connection: psycopg.Connection, statement: str, *parameters: object) -> Any:
    row = connection.execute(statement.encode(), parameters).fetchone()
    return row[0] if row else None


def begin(
    connection: psycopg.Connection,
    name: str,
    *,
    fingerprint: str = "same",
    must_continue: int | None = None,
    target: str = "production",
    continuous: bool = False,
) -> int:
    call = "select app.begin_batch(%s, %s, 'build', %s, %s, %s)"
    return int(value(connection, call, target, name, fingerprint, must_continue, continuous))


def end(connection: psycopg.Connection, batch: int, statuses: dict[str, str], *, can_publish: bool = True) -> str:
    """Ends a build whose nodes have these dbt statuses; returns the status of the build."""
    results = {node: {"name": node, "status": status, "message": f"{node}\n was  {status}"} for node, status in statuses.items()}
    call = "select app.end_batch(%s, %s, %s, '{\"nodes\": {}}', %s)"
    return str(value(connection, call, batch, json.dumps(results), json.dumps(PROJECT), can_publish))


def published(connection: psycopg.Connection) -> Any:
    return value(connection, "select batch_id from app.current_publication where target = 'production'")


def test_a_running_build_is_refused_by_its_sqlstate(owner: psycopg.Connection, settings: Settings) -> None:
    first = begin(owner, "the-first-build")
    with connect(settings, "mailmart_owner") as building:
        # as dbt does: each statement carries the id
        building.execute("select 'the-first-build'")
        with pytest.raises(psycopg.Error, match=f"build {first} is running since") as refused:
            begin(owner, "second")
        assert refused.value.sqlstate == "MM001"
        # another warehouse has builds of its own
        begin(owner, "developer", target="dev")
    assert value(owner, "select status from app.batches where batch_id = %s", first) == "running"


def test_a_build_without_a_connection_is_abandoned_and_cannot_write(owner: psycopg.Connection) -> None:
    first = begin(owner, "first")
    second = begin(owner, "second")
    assert value(owner, "select status from app.batches where batch_id = %s", first) == "abandoned"
    for call in ("select app.hold_batch(%s, '8MB')", "select app.end_batch(%s, '{}', '{}', '{}', true)"):
        with pytest.raises(psycopg.Error, match="took it for dead") as lost:
            owner.execute(call.encode(), (first,))
        assert lost.value.sqlstate == "MM003"
    owner.execute("select app.hold_batch(%s, '8MB')", (second,))


def test_a_held_build_cannot_be_abandoned_and_its_settings_last_for_the_transaction(
    owner: psycopg.Connection, settings: Settings
) -> None:
    batch = begin(owner, "first")
    names = ("work_mem", "timezone", "random_page_cost", "enable_mergejoin", "client_connection_check_interval")
    with connect(settings, "mailmart_owner") as model:
        before = [value(model, "select current_setting(%s)", name) for name in names]
        model.execute("select app.hold_batch(%s, '17MB')", (batch,))
        held = [value(model, "select current_setting(%s)", name) for name in names]
        assert held == ["17MB", "UTC", "1.1", "off", "1s"]
        owner.execute("set lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            owner.execute("update app.batches set status = 'abandoned' where batch_id = %s", (batch,))
        model.rollback()
        assert [value(model, "select current_setting(%s)", name) for name in names] == before
        assert before[0] != "17MB"
    owner.execute("update app.batches set status = 'abandoned' where batch_id = %s", (batch,))


def test_rows_stay_of_their_version_of_core_until_a_backfill_is_published(owner: psycopg.Connection) -> None:
    def build(
        name: str, version: int, *, recomputes: bool = False, first_table: str | None = "rows", succeeds: bool = True
    ) -> Any:
        batch = begin(owner, name)
        call = "select app.record_core_version(%s, %s, %s, to_regclass(%s))"
        recorded = value(owner, call, batch, version, recomputes, first_table)
        end(owner, batch, {"seed": "success", "first": "pass", "second": "pass" if succeeds else "error"})
        return recorded

    owner.execute("create temporary table rows (id int)")
    assert build("no table yet", 1, first_table=None, succeeds=False) == 1
    assert build("a table without rows", 2) == 2
    owner.execute("insert into rows values (1)")
    assert build("the same release", 2) == 2
    assert build("an upgrade", 3) == 2
    assert build("a backfill that fails", 3, recomputes=True, succeeds=False) == 3
    assert build("the next build", 3) == 2
    assert build("a backfill", 3, recomputes=True) == 3
    assert build("the build after it", 3) == 3
    # as builds of a release that did not record it
    owner.execute("update app.batches set core_version = null")
    assert build("after an upgrade from there", 3) is None


def test_a_whole_build_is_published(owner: psycopg.Connection) -> None:
    batch = begin(owner, "first")
    assert end(owner, batch, {"seed": "success", "first": "pass", "second": "warn"}) == "published"
    assert published(owner) == batch
    row = owner.execute(
        "select publications.data_as_of = batches.started_at, batches.continues, batches.failure_summary"
        " from app.publications inner join app.batches using (target, batch_id)"
    ).fetchone()
    assert row == (True, None, None)
    assert value(owner, "select count(*) from app.batch_nodes") == 0


@pytest.mark.parametrize(
    ("statuses", "can_publish"),
    [
        ({"seed": "success", "first": "success"}, True),
        ({"seed": "success", "first": "success", "second": "success"}, False),
    ],
    ids=["a part", "dbt run"],
)
def test_less_than_a_whole_build_is_not_published(owner: psycopg.Connection, statuses: dict[str, str], can_publish: bool) -> None:
    assert end(owner, begin(owner, "first"), statuses, can_publish=can_publish) == "built"
    assert published(owner) is None
    # and counts in no later build
    assert value(owner, "select count(*) from app.batch_nodes") == 0


def test_failures_are_summarised_in_a_line_each(owner: psycopg.Connection) -> None:
    nodes = {f"node_{number}": "error" for number in range(7)}
    batch = begin(owner, "first")
    assert end(owner, batch, {"seed": "success", "second": "skipped", **nodes}) == "failed"
    summary = value(owner, "select failure_summary from app.batches where batch_id = %s", batch)
    assert summary.splitlines() == [f"node_{number}: node_{number} was error" for number in range(5)]


def test_a_retry_publishes_when_it_completes_the_failed_builds_before_it(owner: psycopg.Connection) -> None:
    first = begin(owner, "first")
    assert end(owner, first, {"seed": "success", "first": "success", "second": "error"}) == "failed"
    second = begin(owner, "second", must_continue=first)
    assert end(owner, second, {"second": "error"}) == "failed"
    third = begin(owner, "third", must_continue=second)
    assert end(owner, third, {"second": "success"}) == "published"
    row = owner.execute(
        "select this.continues, publications.data_as_of = earliest.started_at from app.batches as this"
        " inner join app.publications using (batch_id) inner join app.batches as earliest on earliest.batch_id = this.continues"
    ).fetchone()
    assert row == (first, True)
    assert value(owner, "select count(*) from app.batch_nodes") == 0


def test_a_node_that_is_older_than_its_parent_does_not_count(owner: psycopg.Connection) -> None:
    assert (
        end(owner, begin(owner, "first"), {"seed": "success", "first": "success", "second": "success", "other": "error"})
        == "failed"
    )
    assert end(owner, begin(owner, "second"), {"first": "success", "other": "error"}) == "failed"
    assert end(owner, begin(owner, "third"), {"other": "success"}) == "built"


@pytest.mark.parametrize("between", ["another project", "a build that died", "a rollback", "a part"])
def test_a_retry_does_not_count_what_was_before(owner: psycopg.Connection, between: str) -> None:
    assert end(owner, begin(owner, "before"), {"seed": "success", "first": "success", "second": "success"}) == "published"
    failed = begin(owner, "first")
    assert end(owner, failed, {"seed": "success", "first": "success", "second": "error"}) == "failed"
    fingerprint = "same"
    match between:
        case "another project":
            fingerprint = "other"
        case "a build that died":
            begin(owner, "died")
        case "a rollback":
            owner.execute("update app.current_publication set changed_at = clock_timestamp()")
        case "a part":
            assert end(owner, begin(owner, "part"), {"seed": "success"}) == "built"
    if between != "a rollback":
        with pytest.raises(psycopg.Error, match=f"build {failed} cannot be continued") as refused:
            begin(owner, "refused", fingerprint=fingerprint, must_continue=failed)
        assert refused.value.sqlstate == "MM002"
    assert end(owner, begin(owner, "retry", fingerprint=fingerprint), {"second": "success"}) == "built"


def test_columns_are_added_once_and_to_tables_alone_that_exist(owner: psycopg.Connection) -> None:
    owner.execute('create table core.facts (name text, "dropped" text)')
    owner.execute("alter table core.facts drop column dropped")
    columns = json.dumps({"name": "text", "sent": "bigint", "Rate": "numeric(5, 2)", "dropped": "text"})
    for table in ('"core"."facts"', '"core"."facts"', '"core"."not_there"'):
        owner.execute("select app.add_missing_columns(%s, %s)", (table, columns))
    found = owner.execute(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = 'core.facts'::regclass and attnum > 0 and not attisdropped order by attnum"
    ).fetchall()
    assert found == [("name", "text"), ("sent", "bigint"), ("Rate", "numeric(5,2)"), ("dropped", "text")]


def test_columns_wait_for_a_reader_without_blocking_others(owner: psycopg.Connection, settings: Settings) -> None:
    owner.execute("create table core.facts (name text)")
    add = threading.Thread(target=owner.execute, args=("select app.add_missing_columns('core.facts', '{\"sent\": \"bigint\"}')",))
    with connect(settings, "mailmart_owner") as reader, connect(settings, "mailmart_owner") as later:
        reader.execute("select * from core.facts")
        add.start()
        wait_for_waiting(settings)
        # the first reader is still reading, and the build gives way to this one
        later.execute("set statement_timeout = '10s'")
        assert later.execute("select * from core.facts").fetchall() == []
        assert add.is_alive()
    add.join(timeout=30)
    assert value(owner, "select count(sent) from core.facts") == 0


def test_old_rows_and_views_are_removed_and_a_view_that_is_read_is_left(owner: psycopg.Connection, settings: Settings) -> None:
    owner.execute("create table core.facts (name text, valid_to bigint)")
    whole = {"seed": "success", "first": "success", "second": "success"}
    batches = []
    for number in range(3):
        batches.append(begin(owner, f"build {number}"))
        end(owner, batches[-1], whole)
    owner.execute("insert into core.facts select 'closed by ' || batch, batch from unnest(%s::bigint[]) as batch", (batches,))
    for view in ("kept", "published", "read", "old"):
        owner.execute(f"create view {VIEWS}.{view} as select name from core.facts".encode())
    owner.execute(
        'update app.publications set contract = \'{"nodes": {"model": {"alias": "published"}}}\' where batch_id = %s',
        (batches[1],),
    )
    remove = "select app.remove_old_versions(%s, array['core.facts']::regclass[], %s, array['kept'])"

    # an older build, and one that was not published, remove nothing
    owner.execute(remove.encode(), (batches[1], VIEWS))
    owner.execute(remove.encode(), (batches[2] + 1, VIEWS))
    assert value(owner, "select count(*) from core.facts") == 3
    with connect(settings, "mailmart_owner") as reader:
        reader.execute(f"select * from {VIEWS}.read".encode())
        owner.execute(remove.encode(), (batches[2], VIEWS))
    assert owner.execute("select valid_to from core.facts").fetchall() == [(batches[2],)]
    assert owner.execute("select batch_id from app.publications order by 1").fetchall() == [(batches[1],), (batches[2],)]
    views = "select viewname from pg_views where schemaname = %s order by 1"
    assert owner.execute(views, (VIEWS,)).fetchall() == [("kept",), ("published",), ("read",)]
    owner.execute(remove.encode(), (batches[2], VIEWS))
    assert owner.execute(views, (VIEWS,)).fetchall() == [("kept",), ("published",)]


def test_a_rollback_during_a_continuous_build_stays(owner: psycopg.Connection, settings: Settings) -> None:
    whole = {"seed": "success", "first": "success", "second": "success"}
    for name in ("first", "second"):
        end(owner, begin(owner, name), whole)
    batch = begin(owner, "continuous", continuous=True)
    assert rollback(settings) == batch - 2
    end(owner, batch, whole)
    assert published(owner) == batch - 2
    assert value(owner, "select status from app.batches where batch_id = %s", batch) == "built"
    assert value(owner, "select count(*) from app.batch_nodes where batch_id = %s", batch) == 0
    # a whole build publishes as usual
    end(owner, begin(owner, "whole"), whole)
    assert published(owner) == batch + 1


def test_of_old_continuous_builds_the_last_of_each_day_is_kept(owner: psycopg.Connection) -> None:
    whole = {"seed": "success", "first": "success", "second": "success"}
    end(owner, begin(owner, "whole"), whole)
    # eight builds of two days, of which one is no continuous one
    owner.execute(
        "insert into app.batches"
        " (target, invocation_id, command, status, started_at, is_continuous, raw_snapshot, system_identifier)"
        " select 'production', 'old ' || number, 'build', 'published', date_trunc('day', now(), 'UTC') - interval '9 days'"
        " + number * interval '6 hours', number <> 5, pg_current_snapshot(), app.system_identifier()"
        " from generate_series(0, 7) as number"
    )
    end(owner, begin(owner, "next"), whole)
    kept = owner.execute("select invocation_id from app.batches order by batch_id").fetchall()
    assert kept == [("whole",), ("old 3",), ("old 5",), ("old 7",), ("next",)]


@pytest.mark.parametrize("role", ["mailmart_api", "mailmart_worker", "mailmart_analyst"])
def test_only_the_owner_may_build(owner: psycopg.Connection, role: str) -> None:
    functions = (
        "begin_batch", "hold_batch", "end_batch", "publish_batch", "node_runs", "complete_since",
        "remove_old_versions", "drop_unserved_views", "add_missing_columns", "is_build_connected",
    )  # fmt: skip
    found = owner.execute(
        "select proname, has_function_privilege(%s, oid, 'execute'), prosecdef, pg_get_userbyid(proowner) from pg_proc"
        " where pronamespace = 'app'::regnamespace and proname = any(%s)",
        (role, list(functions)),
    ).fetchall()
    assert {name for name, *_ in found} == set(functions)
    assert {tuple(rest) for _, *rest in found} == {(False, False, "mailmart_owner")}
