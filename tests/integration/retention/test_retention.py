"""Retention removes old rows, and every count by day stays what it was: at once, after late events, and after a recomputation."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from api.builds.compression import Pace as Compressed
from api.builds.repository import rollback
from api.builds.retention import Pace, remove_old_rows, run_due_retention
from api.db.connection import connect
from api.settings import Settings
from tests.integration.conftest import MakeWarehouse
from tests.integration.warehouse import current_rows
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.command import mailmart
from tests.support.compression import compress, compressed_events
from tests.support.dbt import ROWS, run_dbt
from tests.support.killing import kill_waiting, lock_rows
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(900)

NOW = datetime.now(UTC)
DAYS = 6
# of each day four and a body, and one whose loaded_at is in the future
MESSAGES = 5 * DAYS + 1
NEVER = threading.Event()
# small transactions, so that there are several
SMALL = Pace(rows=5, pages=1, seconds_to_wait=0)
EVERY: dict[str, Any] = {"retain_payloads": 2, "retain_events": 3, "retain_messages": 4}
ROLLUPS = (
    "fct_campaign_days",
    "fct_send_slots",
    "fct_outcome_slots",
    "fct_mailbox_slots",
    "fct_workspace_slots",
    "fct_workspace_hours",
    "fct_workspace_days",
    "fct_mailbox_days",
    "fct_mailbox_health_days",
    "fct_workspace_health_days",
    "fct_bounce_days",
    "fct_provider_days",
    "fct_workspace_provider_days",
    "fct_step_days",
    "fct_recipient_domain_days",
    "fct_link_days",
    "fct_delay_days",
    "fct_workspace_delays",
    "fct_provider_delays",
    "fct_event_day_shifts",
    "fct_event_days",
)
ANSWERS = ("campaign_performance", "campaign_series", "workspace_overview", "engagement_heatmap", "deliverability",
           "top_bounce_reasons", "reputation_trend", "top_campaigns", "export_campaigns")  # fmt: skip


def rows(settings: Settings, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with connect(settings, "mailmart_owner") as connection:
        return connection.execute(statement.encode(), parameters).fetchall()


def sent_at(day: int) -> datetime:
    return NOW - timedelta(days=day, hours=1)


def mail(day: int) -> list[Event]:
    """The mail of a day, that many days ago: four messages, of which one bounces and two are opened."""
    campaign = {"campaign_id": f"c{day % 2}", "mailbox_id": f"b{day % 2}", "domain_id": "d"}
    events: list[Event] = []
    for number in range(4):
        message, moment = f"m{day}_{number}", sent_at(day)
        kinds = ["sent", "bounced"] if number == 0 else ["sent", "delivered", "opened"] if number < 3 else ["sent", "delivered"]
        for kind in kinds:
            code = {"smtp_status": "5.1.1"} if kind == "bounced" else {}
            events.append(Event(f"{message}_{kind}", "w", message, kind, moment, **campaign, **code))  # type: ignore[arg-type]
    return events


def load_webhook(settings: Settings, loaded_at: datetime, **body: str) -> None:
    event = {"email": "ann@example.com", "timestamp": loaded_at.timestamp(), **body}
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            "insert into raw.webhook_payloads (provider, workspace_id, payload, loaded_at) values ('sendgrid', 'w', %s, %s)",
            (Jsonb([event]), loaded_at),
        )


def load_body(settings: Settings, loaded_at: datetime, number: int) -> None:
    # the message has a second id
    load_webhook(settings, loaded_at, event="delivered", sg_message_id=f"p{number}", **{"smtp-id": f"<p{number}@sender.example>"})
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            "insert into raw.rejected_payloads (provider, workspace_id, problem, reason, body, body_md5, loaded_at)"
            " values ('sendgrid', 'w', 'unreadable_body', 'r', 'bob@example.com', %s, %s)",
            (str(number), loaded_at),
        )


def fill(settings: Settings) -> None:
    """Two builds of six days of mail, loaded on the days on which it was sent."""
    for day in range(DAYS, 0, -1):
        load_events(settings, mail(day), sent_at(day))
        load_body(settings, sent_at(day), day)
    # without a message: rejected
    load_events(settings, [Event("no message", "w", None, "sent", sent_at(5))], sent_at(5))
    load_events(settings, [Event("future", "w", "m_future", "sent", NOW, "c0", "b0", "d")], datetime(9000, 1, 1, tzinfo=UTC))
    run_dbt(settings, *ROWS)
    publish(settings)
    load_events(settings, [Event("click", "w", "m1_1", "clicked", NOW, "c1")], NOW)
    build(settings)
    publish(settings)


def build(settings: Settings, *arguments: str) -> None:
    run_dbt(settings, *ROWS, *arguments)


def publish(settings: Settings) -> None:
    """Publishes the last build, which ran without tests."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("select app.publish_batch(max(batch_id), max(batch_id), '{\"nodes\": {}}') from app.batches")
        connection.execute("update app.batches set status = 'published' where batch_id = (select max(batch_id) from app.batches)")


@pytest.fixture
def warehouse(make_warehouse: MakeWarehouse) -> Settings:
    return make_warehouse("retention", fill)


def retain(settings: Settings, **days: Any) -> dict[str, int]:
    return remove_old_rows(dataclasses.replace(settings, **days), NEVER, pace=SMALL)


def answers(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every mart that counts by day, over all days; and the rollups themselves."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with connect(settings, "mailmart_owner") as connection:
        for name, value in {"workspace_id": "w", "range_start": f"{NOW - timedelta(days=30):%Y-%m-%d}"}.items():
            connection.execute("select set_config(%s, %s, false)", (f"mailmart.{name}", value))
        for mart in ANSWERS:
            found[mart] = sorted(connection.execute(f"select * from marts.{mart}".encode()).fetchall(), key=repr)
        for rollup in ROLLUPS:
            found[rollup] = [row[:-2] for row in current_rows_of(connection, rollup)]
    return found


def current_rows_of(connection: psycopg.Connection, model: str) -> list[tuple[Any, ...]]:
    query = f"select * from core.{model} where valid_to = {current_rows.OPEN_ENDED}"
    return sorted(connection.execute(query.encode()).fetchall(), key=repr)


def oldest(settings: Settings, table: str, column: str = "loaded_at") -> int:
    """The age of the oldest row in days."""
    ((moment,),) = rows(settings, f"select min({column}) from {table}")
    return int((NOW - moment).total_seconds() // 86400)


def test_each_setting_removes_its_rows_and_no_count(warehouse: Settings) -> None:
    before = answers(warehouse)
    assert sum(row[5] for row in before["fct_campaign_days"]) == MESSAGES
    removed = retain(warehouse, retain_payloads=2)
    assert removed == {"webhook_payloads": 5, "rejected_payloads": 5}
    assert oldest(warehouse, "raw.webhook_payloads") == oldest(warehouse, "raw.rejected_payloads") == 1
    assert rows(warehouse, "select count(*) from core.fct_email_events") == [(len(mail(1)) * DAYS + 1 + DAYS + 1,)]

    removed = retain(warehouse, retain_payloads=2, retain_events=3)
    assert removed["email_events"] == len(mail(1)) * 4 + 1
    assert oldest(warehouse, "raw.email_events") == oldest(warehouse, "core.fct_email_events") == 2
    assert oldest(warehouse, "core.fct_rejected_events") == 2
    assert rows(warehouse, "select count(*) from core.fct_messages where valid_to > 1000") == [(MESSAGES,)]
    assert answers(warehouse) == before

    removed = retain(warehouse, **EVERY)
    assert removed["fct_messages"] == 5 * 3
    assert oldest(warehouse, "core.fct_messages", "sent_at") == 3
    assert answers(warehouse) == before

    # the row from the year 9000 is as old as the build that has read it
    future = "select count(*) from raw.email_events natural full join core.fct_email_events where event_id = 'future'"
    assert rows(warehouse, future) == [(2,)]
    rows(warehouse, "update app.batches set started_at = started_at - interval '10 days' returning 1")
    retain(warehouse, **EVERY)
    assert rows(warehouse, future) == [(0,)]
    assert answers(warehouse) == before


def test_raw_events_can_be_kept_for_less_time_than_events(warehouse: Settings) -> None:
    before = answers(warehouse)
    events = "select * from core.fct_email_events where valid_to > 1000 order by event_id"
    counted = rows(warehouse, events)
    removed = retain(warehouse, retain_payloads=0, retain_raw_events=3)
    assert removed == {"email_events": len(mail(1)) * 4 + 1}
    assert oldest(warehouse, "raw.email_events") == 2
    # no message is closed: a late event counts, an event that comes again does not, and a recomputation finds neither missing
    late = Event("late", "w", "m6_1", "clicked", NOW, "c0", "b0", "d")
    load_events(warehouse, [late, *mail(6)], NOW)
    build(warehouse, "--vars", "recompute: true")
    assert [row for row in rows(warehouse, events) if row[1] != "late"] == counted
    assert _differences(before, answers(warehouse)) == {(sent_at(6).date(), "clicked", 1)}
    assert rows(warehouse, "select count(*) from app.closed_messages") == [(0,)]


def test_late_and_repeated_events_count_nothing_and_are_reported(warehouse: Settings) -> None:
    before = answers(warehouse)
    retain(warehouse, **EVERY)
    # as of the build before, the counts are those of that build
    first = rollback(warehouse)
    as_of_first = f"select sum(sent), sum(clicked) from core.fct_campaign_days where valid_from <= {first} and valid_to > {first}"
    assert rows(warehouse, as_of_first) == [(MESSAGES, 0)]
    late = [
        # of a message that was removed, and of one whose events were
        Event("late", "w", "m6_1", "clicked", NOW, "other"),
        Event("bounce", "w", "m3_1", "bounced", NOW, smtp_status="5.1.1"),
        # the same events again: they are in no table any more
        *mail(6),
        *mail(3),
    ]
    kept = [Event("reply", "w", "m2_1", "replied", NOW), Event("new", "w", "m2_new", "sent", sent_at(2), "c0", "b0", "d")]
    load_events(warehouse, [*late, *kept, *mail(1)], NOW)
    # it names a removed message by its second id only
    load_webhook(warehouse, NOW, event="bounce", **{"smtp-id": "<p6@sender.example>"})
    build(warehouse)
    publish(warehouse)
    reported = "select provider, event_id from core.fct_rejected_events where problem = 'message_not_retained' order by 1, 2"
    reported_ids = [event_id if provider == "native" else provider for provider, event_id in rows(warehouse, reported)]
    assert sorted(reported_ids) == sorted({"sendgrid", *(str(event.event_id) for event in late)})
    after = answers(warehouse)
    assert _differences(before, after) == {(sent_at(2).date(), "sent", 1), (sent_at(2).date(), "replied", 1)}

    # A recomputation keeps what it cannot count any more, and counts rows again that have lost no message. What was
    # counted before it was removed is not reported.
    rows(warehouse, "update core.fct_campaign_days set clicked = clicked + 7 where valid_to > 1000 returning 1")
    rows(
        warehouse,
        "update core.fct_workspace_days as days set clicked = clicked + 7 * ("
        "select count(*) from core.fct_campaign_days as parts where parts.valid_to > 1000"
        " and (parts.workspace_id, parts.sent_date) = (days.workspace_id, days.sent_date))"
        " where days.valid_to > 1000 returning 1",
    )
    rejected = rows(warehouse, reported)
    build(warehouse, "--vars", "recompute: true")
    recomputed = answers(warehouse)
    assert {day for day, _, _ in _differences(after, recomputed)} == {sent_at(day).date() for day in (4, 5, 6)}
    assert rows(warehouse, reported) == rejected
    written = current_rows.written_by_last_batch(warehouse)
    assert {model for model, counts in written.items() if counts != (0, 0)} == {"fct_campaign_days", "fct_workspace_days"}

    # in another database system, after a restore, everything is read again
    rows(warehouse, "update app.batches set system_identifier = 1 returning 1")
    build(warehouse)
    assert answers(warehouse) == recomputed
    assert rows(warehouse, reported) == rejected


def _differences(before: dict[str, list[tuple[Any, ...]]], after: dict[str, list[tuple[Any, ...]]]) -> set[tuple[Any, str, int]]:
    """What changed in fct_campaign_days: day, count, and by how much."""
    cells = [{row[:5]: row[5:] for row in found["fct_campaign_days"]} for found in (before, after)]
    names = ("sent", "delivered", "bounced", "hard_bounced", "opened", "clicked", "replied")
    return {
        (cell[4], name, counts[place] - cells[0].get(cell, (0,) * 11)[place])
        for cell, counts in cells[1].items()
        for place, name in enumerate(names)
        if counts[place] != cells[0].get(cell, (0,) * 11)[place]
    }


def test_rows_that_no_published_build_has_read_stay(warehouse: Settings) -> None:
    # taken up by a build that is not published, and by none
    load_events(warehouse, [Event("unpublished", "w", "m6_1", "clicked", sent_at(6), "c0")], sent_at(6))
    load_body(warehouse, sent_at(6), 100)
    build(warehouse)
    load_events(warehouse, [Event("unread", "w", "m_unread", "sent", sent_at(6), "c0")], sent_at(6))
    load_body(warehouse, sent_at(6), 101)
    old_events = "select event_id from raw.email_events where loaded_at < now() - interval '3 days' order by 1"
    assert retain(warehouse, **EVERY)["email_events"] == 41
    assert rows(warehouse, old_events) == [("unpublished",), ("unread",)]
    assert rows(warehouse, "select count(*) from raw.webhook_payloads where loaded_at < %s", sent_at(3)) == [(2,)]
    # the message of the click keeps its events
    of_message = "select count(*) from core.fct_email_events where message_id = 'm6_1'"
    assert rows(warehouse, of_message) == [(4,)]
    assert rows(warehouse, "select relation from app.retention where oldest_kept is not null order by 1") == [
        ("email_events",),
        ("rejected_payloads",),
        ("webhook_payloads",),
    ]
    publish(warehouse)
    before = answers(warehouse)
    retain(warehouse, **EVERY)
    assert rows(warehouse, old_events) == [("unread",)]
    assert rows(warehouse, of_message) == [(0,)]
    assert answers(warehouse) == before


class _StopsAfter(threading.Event):
    def __init__(self, calls: int) -> None:
        super().__init__()
        self._calls = calls

    def is_set(self) -> bool:
        self._calls -= 1
        return self._calls < 0


def test_a_run_that_is_stopped_anywhere_is_resumed(warehouse: Settings) -> None:
    before = answers(warehouse)
    settings = dataclasses.replace(warehouse, **EVERY)
    whole = {"email_events": 41, "webhook_payloads": 5, "rejected_payloads": 5, "fct_messages": 15}
    for calls in range(1, 60, 4):
        removed = remove_old_rows(settings, _StopsAfter(calls), since=NOW - timedelta(hours=1), pace=SMALL)
        assert answers(warehouse)["fct_campaign_days"] == before["fct_campaign_days"]
        # a message has all of its events or none, and then it is closed
        sent = "bool_or(event_type in ('sent', 'delivered'))"
        assert rows(warehouse, f"select message_id from core.fct_email_events group by message_id having not {sent}") == []
    removed = remove_old_rows(settings, NEVER, since=NOW - timedelta(hours=1), pace=SMALL)
    assert {table: removed[table] for table in whole} == whole
    assert answers(warehouse) == before


RUN_AND_WAIT = """
import dataclasses, threading
from api.builds.retention import Pace, remove_old_rows
from api.settings import Settings
settings = dataclasses.replace(Settings.from_environment(), retain_payloads=2, retain_events=3, retain_messages=4)
remove_old_rows(settings, threading.Event(), pace=Pace(rows=5, pages=1, seconds_to_wait=600))
"""


@pytest.mark.parametrize("table", ["raw.email_events", "core.fct_messages"])
def test_a_run_that_is_killed_is_completed_by_the_next(warehouse: Settings, table: str) -> None:
    before = answers(warehouse)
    whole = {"email_events": 41, "webhook_payloads": 5, "rejected_payloads": 5, "fct_messages": 15}
    done = "select from app.retention where relation = 'webhook_payloads' and ended_at is not null and rows_removed = 5"
    with connect(warehouse, "mailmart_owner") as other:
        # the row is deleted by the second transaction of several, or by the last ones
        key = "event_id = 'm5_1_sent'" if table == "raw.email_events" else "message_id = 'm5_1'"
        lock_rows(other, table, key)
        kill_waiting(warehouse, RUN_AND_WAIT, other, lambda: rows(warehouse, done))
        assert answers(warehouse) == before
    removed = {}

    def is_removed() -> bool:
        # nothing is removed while the killed process's session holds the run's lock
        removed.update(retain(warehouse, **EVERY))
        return bool(removed)

    wait_until(is_removed, "the lock of the killed run is free")
    ((events,),) = rows(warehouse, "select total_rows_removed from app.retention where relation = 'email_events'")
    assert events == whole["email_events"]
    assert oldest(warehouse, "core.fct_messages", "sent_at") == 3
    assert oldest(warehouse, "raw.email_events") == oldest(warehouse, "core.fct_email_events") == 2
    assert answers(warehouse) == before


def test_a_build_or_a_lock_keeps_it_waiting_and_readers_do_not(warehouse: Settings) -> None:
    count = "select count(*) from core.fct_messages"
    with connect(warehouse, "mailmart_owner") as reader:
        reader.execute("set transaction isolation level repeatable read")
        total = reader.execute(count.encode()).fetchone()
        with connect(warehouse, "mailmart_owner") as build:
            build.execute("insert into app.batches (target, invocation_id, command) values ('production', 'i', 'build')")
            build.commit()
            assert set(retain(warehouse, **EVERY).values()) == {0}
            build.execute("delete from app.batches where invocation_id = 'i'")
            build.commit()
            build.execute("lock table raw.webhook_payloads in share mode")
            assert set(retain(warehouse, **EVERY).values()) == {0}
        assert retain(warehouse, **EVERY)["fct_messages"] == 15
        # the reader's snapshot has them all
        assert reader.execute(count.encode()).fetchone() == total


def test_a_partition_goes_as_a_whole(warehouse: Settings) -> None:
    with connect(warehouse, "mailmart_owner") as connection:
        connection.execute(
            """
            create table raw.partitioned (like raw.email_events including defaults) partition by range (loaded_at);
            create table raw.old_part partition of raw.partitioned for values from ('2000-01-01') to (now() - interval '4 days');
            create table raw.new_part partition of raw.partitioned for values from (now() - interval '4 days') to ('9999-01-01');
            insert into raw.partitioned select * from raw.email_events;
            alter table raw.email_events rename to unpartitioned;
            alter table raw.partitioned rename to email_events
            """
        )
        ((old,), (newer,)) = connection.execute(
            "select count(*) from raw.old_part union all"
            " select count(*) from raw.new_part where loaded_at < now() - interval '3 days'"
        ).fetchall()
    removed = retain(warehouse, **EVERY)
    assert removed["email_events"] == old + newer == 41
    assert rows(warehouse, "select to_regclass('raw.old_part') is null") == [(True,)]


@pytest.fixture
def builder(server: PostgresServer, warehouse: Settings) -> Iterator[Settings]:
    """The scheduler's login of docs/how-to/operators/logins.md."""
    parts = psycopg.conninfo.conninfo_to_dict(str(warehouse.database_url))
    name = f"builder_{parts['dbname']}"
    with server.as_superuser() as connection:
        connection.execute(f"create role {name} login noinherit password 'secret'".encode())
        connection.execute(f"grant mailmart_owner, mailmart_worker to {name}".encode())
    url = str(warehouse.database_url).replace(f"{parts['user']}:{parts['password']}@", f"{name}:secret@")
    yield dataclasses.replace(warehouse, database_url=url)
    with server.as_superuser() as connection:
        connection.execute(f"drop role {name}".encode())


def test_the_schedulers_login_removes_rows_and_no_other_role_may(builder: Settings) -> None:
    assert retain(builder, **EVERY)["email_events"] == 41
    may = """
        select proname, rolname from pg_proc
        cross join pg_roles
        where
            pronamespace = 'app'::regnamespace
            and proname in ('remove_raw_rows', 'drop_raw_partition', 'close_messages', 'remove_messages', 'begin_retention')
            and rolname in ('mailmart_worker', 'mailmart_api', 'mailmart_analyst', 'mailmart_workspace_analyst')
            and has_function_privilege(rolname, pg_proc.oid, 'execute')
    """
    assert rows(builder, may) == []


def test_it_is_due_once_after_each_nightly_run(warehouse: Settings) -> None:
    settings = dataclasses.replace(warehouse, **EVERY, nightly_at=(NOW - timedelta(hours=1)).time())
    removed = "select coalesce(sum(rows_removed), 0), count(*) filter (where ended_at is null) from app.retention"
    rows(warehouse, "update app.batches set started_at = started_at - interval '2 hours' returning 1")
    # the nightly run comes first
    run_due_retention(settings, NEVER, SMALL)
    assert rows(warehouse, removed) == [(0, 0)]
    rows(warehouse, "update app.batches set started_at = started_at + interval '2 hours' returning 1")
    run_due_retention(settings, _StopsAfter(6), SMALL)
    ((part, unfinished),) = rows(warehouse, removed)
    assert part > 0
    assert unfinished == 1
    run_due_retention(settings, NEVER, SMALL)
    ((whole, unfinished),) = rows(warehouse, removed)
    assert unfinished == 0
    began = "select max(started_at) from app.retention"
    before = rows(warehouse, began)
    run_due_retention(settings, NEVER, SMALL)
    assert rows(warehouse, began) == before

    status = mailmart(settings, "batch", "status")
    assert status.exit_code == 0, status.output
    assert re.search(r"email_events +41 +41 ", status.output)
    assert whole == sum(int(count) for count in re.findall(r"^ {4}\w+ +\d+ +(\d+)  20", status.output, re.MULTILINE))


def test_a_developers_warehouse_leaves_the_raw_logs_alone(warehouse: Settings) -> None:
    assert retain(dataclasses.replace(warehouse, target="dev"), **EVERY) == {}
    assert rows(warehouse, "select count(*) from app.retention") == [(0,)]


def test_compressed_events_are_removed_as_others(warehouse: Settings, make_warehouse: MakeWarehouse) -> None:
    plain = make_warehouse("retention", fill)
    before = answers(warehouse)
    assert compress(warehouse, pace=Compressed(rows=10, seconds_to_wait=0)) == 57
    assert answers(warehouse) == before
    kept = ("core.fct_messages", "core.fct_rejected_events", "app.closed_messages")

    # while a build runs, none is taken out of its block
    rows(
        warehouse,
        "update app.batches set status = 'running' where batch_id = (select max(batch_id) from app.batches) returning 1",
    )
    assert retain(warehouse, **EVERY).get("fct_email_events", 0) == 0
    assert compressed_events(warehouse) == 57
    rows(warehouse, "update app.batches set status = 'published' where status = 'running' returning 1")

    assert retain(warehouse, **EVERY) == retain(plain, **EVERY)
    assert 0 < compressed_events(warehouse) < 57
    assert rows(warehouse, "select count(*) from core.all_email_events") == rows(
        plain, "select count(*) from core.fct_email_events"
    )
    for table in kept:
        found, expected = (sorted(rows(settings, f"select * from {table}"), key=repr) for settings in (warehouse, plain))
        assert found == expected or table == "app.closed_messages"
        assert [row[:2] for row in found] == [row[:2] for row in expected]
    assert answers(warehouse) == before
    late = [Event("late", "w", "m6_1", "clicked", NOW, "other"), Event("reply", "w", "m2_1", "replied", NOW), *mail(2), *mail(6)]
    for settings in (warehouse, plain):
        load_events(settings, late, NOW)
        build(settings)
    assert answers(warehouse) == answers(plain)
    assert current_rows.written_by_last_batch(warehouse) == current_rows.written_by_last_batch(plain)
