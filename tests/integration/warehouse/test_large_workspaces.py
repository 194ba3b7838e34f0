"""What a request reads of a workspace with many mailboxes: rows of days, and not of mailboxes and days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from api.db.connection import connect
from api.db.request_context import apply_settings, tenant_settings
from api.settings import Settings

MAILBOXES = 400
DAYS = 60
BATCH = 1
END = date(2026, 3, 1)
WINDOW = {"mailmart.range_start": str(END - timedelta(days=29)), "mailmart.range_end": str(END)}
# a row for each mailbox and each day of mail, and what builds make of them
MAIL = """
    insert into core.dim_mailboxes (workspace_id, mailbox_id, domain_id, email, is_in_app, valid_from, valid_to)
    select 'w', 'b' || number, 'd', 'b' || number || '@mail.example', true, {batch}, {open_ended}
    from generate_series(1, {mailboxes}) as number;

    insert into core.dim_campaigns (workspace_id, campaign_id, campaign_name, is_in_app, valid_from, valid_to)
    select 'w', 'c' || number, 'Campaign ' || number, true, {batch}, {open_ended}
    from generate_series(1, {mailboxes}) as number;

    insert into core.dim_domains (workspace_id, domain_id, domain, is_in_app, valid_from, valid_to)
    values ('w', 'd', 'mail.example', true, {batch}, {open_ended});

    insert into core.fct_campaign_days (
        workspace_id, campaign_id, mailbox_id, domain_id, sent_date, sent, delivered, bounced, hard_bounced, opened, clicked,
        replied, complained, unsubscribed, human_opened, human_clicked, opens_and_clicks, classified_opens_and_clicks,
        valid_from, valid_to
    )
    select
        'w', 'c' || substr(mailbox_id, 2), mailbox_id, 'd', date '{end}' - day, 10, 9, 1, 1, 3, 2, 1, 0, 0, 2, 1, 5, 5, {batch},
        {open_ended}
    from core.dim_mailboxes cross join generate_series(0, {days} - 1) as day
    order by 5;

    insert into core.fct_bounce_days (
        workspace_id, campaign_id, mailbox_id, domain_id, sent_date, bounce_reason, bounced, valid_from, valid_to
    )
    select workspace_id, campaign_id, mailbox_id, domain_id, sent_date, 'mailbox_full', bounced, {batch}, {open_ended}
    from core.fct_campaign_days
    order by 5;

    insert into core.fct_link_days (
        workspace_id, campaign_id, link, sent_date, messages_clicked, human_messages_clicked, clicks, human_clicks, valid_from,
        valid_to
    )
    select workspace_id, campaign_id, 'https://shop.example/' || campaign_id, sent_date, 2, 1, 3, 1, {batch}, {open_ended}
    from core.fct_campaign_days
    order by 4;

    insert into core.fct_mailbox_days (
        workspace_id, mailbox_id, domain_id, sent_date, campaigns, sent, delivered, bounced, hard_bounced, complained,
        unsubscribed, valid_from, valid_to
    )
    select 'w', mailbox_id, 'd', date '{end}' - day, 1, 10, 9, 1, 1, 0, 0, {batch}, {open_ended}
    from core.dim_mailboxes cross join generate_series(0, {days} - 1) as day;

    insert into core.fct_mailbox_health_days (
        workspace_id, health_date, mailbox_id, sent, delivered, hard_bounced, complained, unsubscribed, sent_this_week,
        sent_week_before, valid_from, valid_to
    )
    select 'w', sent_date, mailbox_id, 300, 270, 30, 0, 0, 70, 70, {batch}, {open_ended}
    from core.fct_mailbox_days
    order by 2;

    insert into core.fct_workspace_health_days (
        workspace_id, health_date, mailboxes, sent, hard_bounce_rate_penalized, spam_complaint_rate_penalized,
        unsubscribe_rate_penalized, drop_of_sent_penalized, valid_from, valid_to
    )
    select 'w', health_date, count(*), sum(sent), sum(sent), 0, 0, 0, {batch}, {open_ended}
    from core.fct_mailbox_health_days
    group by health_date;

    insert into core.fct_workspace_days (
        workspace_id, sent_date, cells, sent, delivered, bounced, hard_bounced, opened, clicked, replied, complained,
        unsubscribed, human_opened, human_clicked, opens_and_clicks, classified_opens_and_clicks, valid_from, valid_to
    )
    select
        'w', sent_date, count(*), sum(sent), sum(delivered), sum(bounced), sum(hard_bounced), 0, 0, 0, 0, 0, 0, 0, 0, 0, {batch},
        {open_ended}
    from core.fct_mailbox_days
    group by sent_date;
"""


@pytest.fixture(scope="module")
def many_mailboxes(empty_warehouse: Settings) -> Settings:
    values = {"batch": BATCH, "open_ended": 2**63 - 1, "mailboxes": MAILBOXES, "days": DAYS, "end": END}
    with connect(empty_warehouse, "mailmart_owner") as connection:
        connection.execute(MAIL.format(**values).encode())
        connection.commit()
        connection.autocommit = True
        connection.execute("analyze")
    return empty_warehouse


@pytest.mark.parametrize(
    ("mart", "rows_found", "max_rows"),
    [
        # each day passes a few nodes of the plan
        ("reputation_trend", 30, 20 * DAYS),
        ("deliverability", 1, 20 * DAYS),
        ("workspace_overview", 1, 20 * DAYS),
        ("workspace_series", 30, 20 * DAYS),
        # of the window's first and last day
        ("mailbox_health", MAILBOXES, 24 * MAILBOXES),
    ],
)
def test_days_are_not_read_by_mailbox(many_mailboxes: Settings, mart: str, rows_found: int, max_rows: int) -> None:
    with connect(many_mailboxes, "mailmart_api") as connection:
        plan = explained(connection, f"select * from marts.{mart}")
    assert plan["Actual Rows"] == rows_found
    assert sum(rows_of_nodes(plan)) < max_rows < MAILBOXES * DAYS


@pytest.mark.parametrize(
    ("page", "rows_found"),
    [
        ("select campaign_id from marts.campaign_order order by emails_sent desc, campaign_id limit 51", 51),
        ("select mailbox_id, open_rate from marts.mailbox_list order by emails_sent desc, mailbox_id limit 51", 51),
        ("select domain_id, open_rate from marts.domain_list order by emails_sent desc, domain_id limit 51", 1),
        ("select link, clicks from marts.link_list order by clicks desc, link limit 51", 51),
        ("select * from marts.top_campaigns", 5),
        ("select * from marts.top_bounce_reasons", 1),
    ],
)
def test_days_are_summed_without_a_sort(many_mailboxes: Settings, page: str, rows_found: int) -> None:
    """Sums are sorted, and not the days that they are of; and no node of a plan runs once for each row."""
    with connect(many_mailboxes, "mailmart_api") as connection:
        plan = explained(connection, page)
    assert plan["Actual Rows"] == rows_found
    assert sum(rows_that_are_sorted(plan)) <= 3 * MAILBOXES < MAILBOXES * 30
    assert max(runs_of_nodes(plan)) < 10


def test_what_was_counted_is_what_a_request_computes(many_mailboxes: Settings) -> None:
    """A day after the last counted one is computed, and so is the health of one domain, here of all mailboxes."""
    with connect(many_mailboxes, "mailmart_api") as connection:
        apply_settings(connection, {**WINDOW, **tenant_settings("w", BATCH), "mailmart.range_end": str(END + timedelta(days=1))})
        trend = connection.execute("select date, score from marts.reputation_trend").fetchall()
        # hard bounces cost 35 points; on the day after, 60 messages of this week and 70 of the one before cost nothing
        assert trend == [(END + timedelta(days=day), 65) for day in range(-29, 2)]
        apply_settings(connection, {"mailmart.domain_id": "d"})
        assert connection.execute("select date, score from marts.reputation_trend").fetchall() == trend


def explained(connection: psycopg.Connection, query: str) -> Mapping[str, Any]:
    apply_settings(connection, {**WINDOW, **tenant_settings("w", BATCH)})
    row = connection.execute(f"explain (analyze, timing off, format json) {query}".encode()).fetchone()
    assert row is not None
    plan: Mapping[str, Any] = row[0][0]["Plan"]
    return plan


def rows_that_are_sorted(node: Mapping[str, Any]) -> Iterator[float]:
    for child in node.get("Plans", ()):
        if node["Node Type"] in ("Sort", "Incremental Sort") and child.get("Parent Relationship") == "Outer":
            yield child["Actual Rows"] * child["Actual Loops"]
        yield from rows_that_are_sorted(child)


def runs_of_nodes(node: Mapping[str, Any]) -> Iterator[float]:
    yield node["Actual Loops"]
    for child in node.get("Plans", ()):
        yield from runs_of_nodes(child)


def rows_of_nodes(node: Mapping[str, Any]) -> Iterator[float]:
    yield node["Actual Rows"] * node["Actual Loops"]
    for child in node.get("Plans", ()):
        yield from rows_of_nodes(child)
