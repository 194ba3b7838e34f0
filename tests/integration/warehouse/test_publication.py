"""Readers see whole, published batches: while builds run, after one that failed, and when one goes back."""

from __future__ import annotations

import threading
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import Connection, sql

from api.builds.continuous import CONTINUOUS, SELECTION
from api.builds.repository import rollback
from api.db.connection import connect
from api.errors import MailmartError
from api.settings import PROJECT_ROOT, Settings
from tests.integration.conftest import MakeWarehouse
from tests.integration.warehouse import current_rows
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.command import mailmart
from tests.support.dbt import WITHOUT_TESTS, WITHOUT_UNIT_TESTS, run_dbt

BEFORE_NOW = timedelta(days=2)


def sent(number: int) -> Event:
    return event(number, "sent")


def event(number: int, kind: str, campaign: str = "c", mailbox: str = "b") -> Event:
    """An event of a message; one of another campaign is later than all before."""
    moved = timedelta() if campaign == "c" else timedelta(days=1) + timedelta(minutes=int(campaign[1:]) / 100)
    at = datetime.now(UTC) - BEFORE_NOW + moved
    return Event(f"e{number}_{kind}{campaign[1:]}", "w", f"m{number}", kind, at, campaign_id=campaign, mailbox_id=mailbox)


def load_now(settings: Settings, *events: Event) -> None:
    load_events(settings, events, datetime.now(UTC))


def published(settings: Settings) -> int | None:
    with connect(settings, "mailmart_api") as connection:
        row = connection.execute("select batch_id from app.current_publication where target = 'production'").fetchone()
    return row[0] if row else None


# the number of messages sent, by the marts and facts that count each message once
SAME_MESSAGES = {
    "by campaign": "select sum(emails_sent) from marts.campaign_performance",
    "by day": "select sum(sent) from marts.campaign_series",
    "by slot": "select sum(emails_sent) from marts.engagement_heatmap",
    "by mailbox": "select sum(sent) from (select mailbox_id, sum(sent) as sent from core.fct_campaign_days"
    " where valid_from <= current_setting('mailmart.as_of')::bigint and valid_to > current_setting('mailmart.as_of')::bigint"
    " group by mailbox_id) as mailboxes",
    "one by one": "select count(*) from core.fct_messages where is_sent"
    " and valid_from <= current_setting('mailmart.as_of')::bigint and valid_to > current_setting('mailmart.as_of')::bigint",
    "in all": "select emails_sent from marts.workspace_overview",
    "in all by day": "select sum(sent) from marts.workspace_series",
}
SAME_BOUNCES = {
    "by campaign": "select sum(emails_bounced) from marts.campaign_performance",
    "by reason": "select sum(count) from marts.top_bounce_reasons",
    "by class": "select hard_bounces + soft_bounces from marts.deliverability",
}
# without rows, because nothing that is requested is unknown, nothing is left out, no shares are planned, and no mail has a domain
EMPTY = (
    *("domain_list", "left_out", "sample_ratio", "unknown_campaigns", "unknown_domains"),
    # nothing was delivered
    *("campaign_links", "link_list", "delay_histogram", "delay_percentiles", "query_link_days"),
)


def read(settings: Settings) -> tuple[int, int]:
    """What a request reads: the published batch, and the number of messages sent, which is the same in all marts."""
    with connect(settings, "mailmart_api") as connection:
        return read_once(connection)


def read_once(connection: Connection, *, every_mart: bool = False) -> tuple[int, int]:
    """What a request reads, in a transaction of its own."""
    with connection.transaction():
        connection.execute("select set_config('mailmart.workspace_id', 'w', true)")
        row = connection.execute("select batch_id from app.current_publication where target = 'production'").fetchone()
        assert row is not None
        connection.execute("select set_config('mailmart.as_of', %s, true)", (str(row[0]),))

        def totals(queries: dict[str, str]) -> dict[str, Any]:
            return {name: connection.execute(query.encode()).fetchall()[0][0] for name, query in queries.items()}

        sent = totals(SAME_MESSAGES)
        assert len(set(sent.values())) == 1, f"batch {row[0]}: {sent}"
        if every_mart:
            bounced = totals(SAME_BOUNCES)
            assert len(set(bounced.values())) == 1, f"batch {row[0]}: {bounced}"
            for mart in sorted(path.stem for path in (PROJECT_ROOT / "models" / "marts").glob("*/*.sql")):
                rows = connection.execute(sql.SQL("select * from marts.{}").format(sql.Identifier(mart))).fetchall()
                assert bool(rows) != (mart in EMPTY), f"batch {row[0]}: {mart} has {len(rows)} rows"
    assert sent["in all"] is not None
    return row[0], int(sent["in all"])


@pytest.fixture
def first_published(make_warehouse: MakeWarehouse) -> Settings:
    """A published build of one message; a copy of the test's own."""
    return make_warehouse("publication", _publish_first)


def _publish_first(settings: Settings) -> None:
    # something for every mart: a message that bounced, from a mailbox, and a type that counts nowhere
    load_now(settings, sent(0), event(0, "bounced"), event(0, "teleported"))
    run_dbt(settings, *WITHOUT_UNIT_TESTS)


@pytest.mark.timeout(1440)
def test_readers_during_builds_see_only_published_batches(built_empty: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = built_empty
    # in this database: a continuous build follows a publication of the same database, and not that of a copy
    _publish_first(settings)

    seen: dict[int, set[int]] = defaultdict(set)
    errors: list[Exception] = []
    stop = threading.Event()

    def keep_reading() -> None:
        # the same connection, as the API's: planning every mart takes longer than reading them
        with connect(settings, "mailmart_api", autocommit=True) as connection:
            # a pause, so that the builds can run, too
            while not stop.wait(0.5):
                try:
                    batch, total = read_once(connection, every_mart=True)
                    seen[batch].add(total)
                except Exception as error:
                    errors.append(error)

    readers = [threading.Thread(target=keep_reading) for _ in range(2)]
    for reader in readers:
        reader.start()
    totals = {published(settings): 1}
    try:
        total = 1
        for size in (100, 1000, 10):
            # the new ones, and a message that moves from one campaign and mailbox to another
            load_now(settings, *(sent(number) for number in range(total, total + size)))
            load_now(settings, event(0, "opened", f"c{total}", f"b{total}"))
            total += size
            with monkeypatch.context() as environment:
                environment.setenv(*next(iter(CONTINUOUS.items())))
                run_dbt(settings, "build", "--select", *SELECTION)
            totals[published(settings)] = total
        # recomputed, with one message less, and no reader sees a gap
        with connect(settings, "mailmart_owner") as connection:
            connection.execute("delete from raw.email_events where event_id = 'e5_sent'")
        run_dbt(settings, *WITHOUT_UNIT_TESTS, "--vars", "recompute: true")
        totals[published(settings)] = total - 1
        # continuous builds have written what a build from nothing does
        written = current_rows.written_by_last_batch(settings)
        assert {model: rows for model, rows in written.items() if rows != (0, 0)} == {
            "fct_email_events": (0, 1),
            "fct_event_days": (1, 1),
            "fct_messages": (0, 1),
            "fct_campaign_days": (1, 1),
            "fct_send_slots": (1, 1),
            "fct_mailbox_slots": (1, 1),
            "fct_outcome_slots": (1, 1),
            "fct_workspace_slots": (1, 1),
            "fct_workspace_hours": (1, 1),
            "fct_workspace_days": (1, 1),
            "fct_mailbox_days": (1, 1),
            # and two days after the last mail
            "fct_mailbox_health_days": (3, 3),
            "fct_workspace_health_days": (3, 3),
            "fct_provider_days": (1, 1),
            "fct_workspace_provider_days": (1, 1),
            "fct_step_days": (1, 1),
            "fct_recipient_domain_days": (1, 1),
        }
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert errors == []
    assert len(totals) == 5
    assert {batch: {total} for batch, total in totals.items() if batch in seen} == dict(seen)
    assert len(seen) >= 3


@pytest.mark.timeout(720)
def test_a_failed_test_publishes_nothing_and_one_can_go_back(first_published: Settings) -> None:
    settings = first_published
    first = published(settings)
    assert read(settings) == (first, 1)

    # not everything selected: built, not published
    load_now(settings, sent(2))
    run_dbt(settings, *WITHOUT_TESTS, "--select", "core")
    assert published(settings) == first
    assert read(settings) == (first, 1)

    # a data test fails: its rows are not visible
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("update core.fct_campaign_days set bounced = 7 where sent = 2")
    failed = run_dbt(settings, *WITHOUT_UNIT_TESTS, check=False)
    assert failed.returncode == 1
    assert "Failure in test valid_rows_fct_campaign_days" in failed.stdout
    assert read(settings) == (first, 1)

    # repaired by a recomputation; no unit test depends on the variable
    run_dbt(settings, "test", "--select", "path:models/core,test_type:unit", "--vars", "recompute: true")
    run_dbt(settings, *WITHOUT_UNIT_TESTS, "--vars", "recompute: true")
    second = published(settings)
    assert first is not None
    assert second is not None
    assert second > first
    assert read(settings) == (second, 2)

    # back to the publication before, and no further: older rows are removed
    assert rollback(settings) == first
    assert read(settings) == (first, 1)
    with pytest.raises(MailmartError, match="no earlier publication"):
        rollback(settings)

    # the next build publishes again; a rollback skips the withdrawn publication
    load_now(settings, sent(3))
    run_dbt(settings, *WITHOUT_UNIT_TESTS)
    third = published(settings)
    assert third is not None
    assert third > second
    assert read(settings) == (third, 3)
    assert rollback(settings) == first

    with connect(settings, "mailmart_owner") as connection:
        ends = connection.execute("select batch_id, status from app.batches order by batch_id").fetchall()
    assert [status for _, status in ends] == ["built", "published", "built", "failed", "published", "published"]


@pytest.mark.timeout(480)
def test_the_last_two_publications_are_kept_and_the_commands_list_them_and_roll_back(first_published: Settings) -> None:
    settings = first_published
    for number in (1, 2):
        # the same cell changes with every batch
        load_now(settings, sent(number))
        run_dbt(settings, *WITHOUT_UNIT_TESTS)
    with connect(settings, "mailmart_owner") as connection:
        totals = connection.execute("select sent from core.fct_campaign_days order by valid_from").fetchall()
        kept = connection.execute("select count(*) from app.publications").fetchone()
    assert totals == [(2,), (3,)]
    assert kept == (2,)

    shown = mailmart(settings, "batch", "list").output
    assert [line.split()[0] for line in shown.splitlines()[1:]] == ["*", "3", "2", "1"]
    assert [line.split()[1] for line in shown.splitlines()[1:2]] == ["4"]
    assert shown.count(" published") == 3
    # the rows of older builds are no longer known, and are not 0
    assert [len(line.split()) for line in shown.splitlines()[1:]] == [8, 7, 5, 5]
    assert mailmart(settings, "batch", "rollback").output == "batch 3 is the current publication\n"
    assert read(settings) == (3, 2)
    assert [line[0] for line in mailmart(settings, "batch", "list").output.splitlines()[1:]] == [" ", "*", " ", " "]
    again = mailmart(settings, "batch", "rollback")
    assert again.exit_code == 1
    assert "no earlier publication" in again.output
