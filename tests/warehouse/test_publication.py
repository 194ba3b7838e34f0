"""Readers see whole, published batches: while builds run, after one that failed, and when one goes back."""

from __future__ import annotations

import threading
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import pytest
from psycopg import sql

from api.batch.books import go_back
from api.database import connect
from api.errors import MailmartError
from api.settings import Settings
from tests.support.dbt import run_dbt
from tests.warehouse.events import Event
from tests.warehouse.landing import land

BEFORE_NOW = timedelta(days=2)


def sent(number: int, campaign: str = "c") -> Event:
    return Event(f"e{number}", "w", f"m{number}", "sent", datetime.now(UTC) - BEFORE_NOW, campaign_id=campaign)


def land_now(settings: Settings, *events: Event) -> None:
    land(settings, events, datetime.now(UTC))


def published(settings: Settings) -> int | None:
    with connect(settings, "mailmart_api") as connection:
        row = connection.execute("select batch_id from app.publication where target = 'production'").fetchone()
    return row[0] if row else None


def read(settings: Settings) -> tuple[int, int, int]:
    """What a request reads: the published batch, and what was sent, by campaign and by day; by slot and mailbox the same."""
    with connect(settings, "mailmart_api") as connection:
        connection.execute("select set_config('mailmart.workspace_id', 'w', true)")
        row = connection.execute("select batch_id from app.publication where target = 'production'").fetchone()
        assert row is not None
        connection.execute("select set_config('mailmart.as_of', %s, true)", (str(row[0]),))

        def total(query: LiteralString) -> int:
            found = connection.execute(query).fetchone()
            assert found is not None
            assert found[0] is not None, f"nothing in: {query}"
            number: int = found[0]
            return number

        by_campaign = total("select sum(emails_sent)::int from marts.campaign_performance")
        by_day = total("select sum(sent)::int from marts.campaign_series")
        by_slot = total("select sum(emails_sent)::int from marts.engagement_heatmap")
        by_mailbox = total(
            "select sum(sent)::int from core.fct_campaign_days"
            " where valid_from <= current_setting('mailmart.as_of')::bigint"
            " and valid_to > current_setting('mailmart.as_of')::bigint"
        )
        in_all = total("select emails_sent::int from marts.workspace_overview")
        assert {by_slot, by_mailbox, in_all} == {by_campaign}
        for mart in (
            "top_campaigns",
            "deliverability",
            "blacklist_status",
            "heatmap_timezone",
            "optimal_send_time",
            "comparison",
        ):
            assert connection.execute(sql.SQL("select * from marts.{}").format(sql.Identifier(mart))).fetchall(), mart
        for mart in ("optimal_send_time", "reputation_trend", "top_bounce_reasons", "significance", "data_quality"):
            connection.execute(sql.SQL("select * from marts.{}").format(sql.Identifier(mart))).fetchall()
    return row[0], by_campaign, by_day


@pytest.mark.timeout(240)
def test_readers_during_builds_see_only_published_batches(settings: Settings) -> None:
    land_now(settings, sent(0))
    run_dbt(settings, "build", "--exclude-resource-type", "unit_test")
    first = published(settings)

    seen: dict[int, set[tuple[int, int]]] = defaultdict(set)
    errors: list[Exception] = []
    stop = threading.Event()

    def keep_reading() -> None:
        while not stop.is_set():
            try:
                batch, by_campaign, by_day = read(settings)
                seen[batch].add((by_campaign, by_day))
            except Exception as error:
                errors.append(error)

    readers = [threading.Thread(target=keep_reading) for _ in range(2)]
    for reader in readers:
        reader.start()
    totals = {first: 1}
    try:
        total = 1
        for size in (100, 1000, 10):
            # the new ones, and a message that moves from one campaign to another
            land_now(settings, *(sent(number) for number in range(total, total + size)))
            land_now(settings, Event(f"move{total}", "w", "m0", "opened", datetime.now(UTC), campaign_id=f"c{total}"))
            total += size
            run_dbt(settings, "build", "--exclude-resource-type", "unit_test")
            totals[published(settings)] = total
        # from the beginning, and nobody sees a gap
        run_dbt(settings, "build", "--exclude-resource-type", "unit_test", "--vars", "recompute: true")
        totals[published(settings)] = total
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert errors == []
    assert len(totals) == 5
    assert {batch: {(total, total)} for batch, total in totals.items() if batch in seen} == dict(seen)
    assert len(seen) >= 3


@pytest.mark.timeout(240)
def test_a_failed_test_publishes_nothing_and_one_can_go_back(settings: Settings) -> None:
    land_now(settings, sent(1))
    run_dbt(settings, "build", "--exclude-resource-type", "unit_test")
    first = published(settings)
    assert read(settings) == (first, 1, 1)

    # not everything selected: built, not published
    land_now(settings, sent(2))
    run_dbt(settings, "build", "--select", "core")
    assert published(settings) == first
    assert read(settings) == (first, 1, 1)

    # a data test fails: the rows are there, and nobody is shown them
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("update core.fct_campaign_days set bounced = 7 where sent = 2")
    failed = run_dbt(settings, "build", "--exclude-resource-type", "unit_test", check=False)
    assert failed.returncode == 1
    assert "FAIL" in failed.stdout
    assert read(settings) == (first, 1, 1)

    # mended, by computing from the beginning
    run_dbt(settings, "build", "--exclude-resource-type", "unit_test", "--vars", "recompute: true")
    second = published(settings)
    assert first is not None
    assert second is not None
    assert second > first
    assert read(settings) == (second, 2, 2)

    # back to the one before, and not further than the rows go
    assert go_back(settings) == first
    assert read(settings) == (first, 1, 1)
    with pytest.raises(MailmartError, match="no earlier publication"):
        go_back(settings)

    # the next build publishes again; the one that was taken back is not gone back to
    land_now(settings, sent(3))
    run_dbt(settings, "build", "--exclude-resource-type", "unit_test")
    third = published(settings)
    assert third is not None
    assert third > second
    assert read(settings) == (third, 3, 3)
    assert go_back(settings) == first

    with connect(settings, "mailmart_owner") as connection:
        ends = connection.execute("select batch_id, status from app.batches order by batch_id").fetchall()
    assert [status for _, status in ends] == ["published", "built", "failed", "published", "published"]


@pytest.mark.timeout(240)
def test_rows_of_before_the_last_two_publications_are_removed(settings: Settings) -> None:
    for number in range(1, 5):
        # the same cell changes with every batch
        land_now(settings, sent(number))
        run_dbt(settings, "build", "--exclude-resource-type", "unit_test")
    with connect(settings, "mailmart_owner") as connection:
        totals = connection.execute("select sent from core.fct_campaign_days order by valid_from").fetchall()
        kept = connection.execute("select count(*) from app.publications").fetchone()
    assert totals == [(3,), (4,)]
    assert kept == (2,)
