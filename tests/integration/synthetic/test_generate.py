"""Synthetic events: the same for the same seed, with the distributions of distributions.py, each message in one workspace."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from api.db.connection import connect
from api.errors import MailmartError
from api.settings import Settings
from api.tools.synthetic import distributions as like
from api.tools.synthetic import generate as generator
from api.tools.synthetic.generate import GenerateOptions, generate
from tests.support.command import mailmart

# long enough ago that no event is in the future
PAST = date(2025, 6, 29)
SMALL = GenerateOptions(workspaces=2, campaigns=5, messages=3_000, days=20, seed=7, until=PAST)
LARGE = GenerateOptions(workspaces=4, campaigns=16, messages=50_000, days=28, seed=3, until=PAST, is_flat=True)


def rows(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with connect(settings, "mailmart_owner") as connection:
        return connection.execute(statement.encode()).fetchall()


def number(settings: Settings, statement: str) -> float:
    [(value,)] = rows(settings, statement)
    return float(value)


def checksum(settings: Settings) -> str:
    """Of all rows in any order, without when and by which transaction they were loaded; an event loaded twice counts once."""
    [(value,)] = rows(
        settings,
        """
        with events as (
            select distinct (to_jsonb(events) - 'loaded_at' - 'loaded_xid')::text as content
            from raw.email_events as events
        ),

        tables as (
            select content from events
            union all
            select workspaces::text from raw.workspaces
            union all
            select campaigns::text from raw.campaigns
            union all
            select domains::text from raw.domains
            union all
            select mailboxes::text from raw.mailboxes
            union all
            select smtp_ip_addresses::text from raw.smtp_ip_addresses
            union all
            select domain_ip_assignments::text from raw.domain_ip_assignments
        )

        select md5(string_agg(content, ' ' order by content)) from tables
        """,
    )
    return str(value)


def test_the_same_options_generate_the_same_rows_in_any_batches(
    settings: Settings, make_database: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_database()
    loaded = generate(settings, SMALL)
    monkeypatch.setattr(generator, "BATCH_MESSAGES", 701)
    monkeypatch.setattr(generator, "CONNECTIONS", 3)
    assert generate(other, SMALL) == loaded
    assert checksum(other) == checksum(settings)


def test_generating_again_adds_no_new_event(settings: Settings) -> None:
    loaded = generate(settings, SMALL)
    before = checksum(settings)
    assert generate(settings, SMALL) == loaded
    assert checksum(settings) == before
    assert number(settings, "select count(*) from raw.email_events") == 2 * loaded


def test_another_seed_generates_other_messages(settings: Settings) -> None:
    generate(settings, SMALL)
    generate(settings, GenerateOptions(2, 5, 3_000, 20, seed=8, until=PAST))
    assert number(settings, "select count(distinct (workspace_id, message_id)) from raw.email_events") == 6_000
    # messages of the same number are sent at different times
    assert rows(
        settings,
        """
        with sent as (
            select distinct split_part(message_id, '_', 3) as number, split_part(message_id, '_', 2) as seed, occurred_at
            from raw.email_events where event_type = 'sent'
        )

        select count(*) from sent as one join sent as other using (number, occurred_at) where one.seed < other.seed
        """,
    ) == [(0,)]


def test_events_in_the_future_are_left_out(settings: Settings, make_database: Callable[[], Settings]) -> None:
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    loaded = generate(settings, GenerateOptions(1, 1, 3_000, 3, seed=1, until=tomorrow))
    # of the three days the second is not over and the third has not started
    weights = [like.WEEKDAYS[(tomorrow - timedelta(days=days)).weekday()] for days in (2, 1, 0)]
    assert 0 < loaded < 2.7 * 3_000 * (weights[0] + weights[1]) / sum(weights)
    assert rows(settings, "select count(*) from raw.email_events where occurred_at > loaded_at") == [(0,)]


@pytest.mark.parametrize(
    "options",
    [
        GenerateOptions(workspaces=3, campaigns=2),
        GenerateOptions(messages=0),
        GenerateOptions(days=0),
        GenerateOptions(seed=-1),
        GenerateOptions(seed=2**31),
    ],
)
def test_options_out_of_range_are_refused(settings: Settings, options: GenerateOptions) -> None:
    with pytest.raises(MailmartError):
        generate(settings, options)
    assert rows(settings, "select count(*) from raw.workspaces") == [(0,)]


def test_the_command(settings: Settings) -> None:
    arguments = ["--workspaces", "2", "--campaigns", "5", "--messages", "3000", "--days", "20", "--seed", "7"]
    result = mailmart(settings, "generate", *arguments, "--until", PAST.isoformat())
    assert result.exit_code == 0, result.output
    assert "3,000 messages" in result.output
    by_command = checksum(settings)
    generate(settings, SMALL)
    assert checksum(settings) == by_command
    result = mailmart(settings, "generate", "--workspaces", "5", "--campaigns", "4")
    assert result.exit_code == 1
    assert "4 campaigns are not enough for 5 workspaces" in result.output


@pytest.fixture(scope="module")
def large(module_settings: Settings) -> Settings:
    """A database with 50,000 messages. raw.distinct_events has a row for each event, raw.messages a row for each message."""
    generate(module_settings, LARGE)
    with connect(module_settings, "mailmart_owner") as connection:
        connection.execute(
            """
            create table raw.distinct_events as
            select distinct on (event_id) * from raw.email_events order by event_id;

            create table raw.messages as
            select
                message_id,
                min(workspace_id) as workspace_id,
                min(campaign_id) as campaign_id,
                min(mailbox_id) as mailbox_id,
                min(domain_id) as domain_id,
                min(occurred_at) filter (where event_type = 'sent') as sent_at,
                bool_or(event_type = 'sent') as is_sent,
                bool_or(event_type = 'delivered') as is_delivered,
                bool_or(event_type = 'bounced') as is_bounced,
                array_agg(event_type) as types,
                count(distinct (workspace_id, campaign_id, mailbox_id, domain_id, recipient_hash, recipient_domain)) as identities
            from raw.distinct_events
            group by message_id;
            """
        )
    return module_settings


def test_every_message_has_two_and_a_half_events_on_average(large: Settings) -> None:
    assert number(large, "select count(*) from raw.messages") == LARGE.messages
    assert number(large, "select count(*) from raw.email_events") / LARGE.messages == pytest.approx(2.5, abs=0.2)


def test_a_message_and_all_its_ids_belong_to_one_workspace(large: Settings) -> None:
    assert rows(
        large,
        """
        select
            count(*) filter (where messages.identities <> 1),
            count(*) filter (where messages.workspace_id is distinct from workspaces.workspace_id),
            count(*) filter (where messages.workspace_id is distinct from domains.workspace_id),
            count(messages.campaign_id) filter (where messages.workspace_id is distinct from campaigns.workspace_id),
            count(messages.mailbox_id) filter (where messages.workspace_id is distinct from mailboxes.workspace_id),
            count(messages.mailbox_id) filter (where messages.domain_id is distinct from mailboxes.domain_id)
        from raw.messages as messages
        left join raw.workspaces as workspaces using (workspace_id)
        left join raw.domains as domains using (domain_id)
        left join raw.campaigns as campaigns using (campaign_id)
        left join raw.mailboxes as mailboxes using (mailbox_id)
        """,
    ) == [(0, 0, 0, 0, 0, 0)]


# condition, base and expected share; five standard errors are tolerated
MESSAGES = {
    "bounced": ("is_bounced", "is_sent", like.BOUNCED / (1 - like.REJECTED)),
    "delivered": ("is_delivered", "is_sent", (1 - like.REJECTED - like.BOUNCED) / (1 - like.REJECTED)),
    "rejected": ("'rejected' = any(types)", "true", like.REJECTED),
    "deferred": ("'deferred' = any(types)", "is_sent", like.DEFERRED),
    "opened": ("'opened' = any(types)", "is_delivered", like.OPENED),
    "clicked": ("'clicked' = any(types)", "is_delivered", like.CLICKED),
    "clicked, not opened": ("'clicked' = any(types) and not 'opened' = any(types)", "is_delivered", like.CLICKED_UNSEEN),
    "replied": ("'replied' = any(types)", "is_delivered", like.REPLIED),
    "autoresponded": ("'autoresponded' = any(types)", "is_delivered", like.AUTORESPONDED),
    "complained": ("'complained' = any(types)", "is_delivered", like.COMPLAINED),
    "unsubscribed": ("'unsubscribed' = any(types)", "is_delivered", like.UNSUBSCRIBED),
    "without campaign": ("campaign_id is null", "true", like.NO_CAMPAIGN),
    "without mailbox": ("mailbox_id is null", "true", like.NO_MAILBOX),
}


def within(shares: list[tuple[Any, ...]], expected: float) -> bool:
    [(part, whole)] = shares
    assert whole > 0
    tolerance: float = 5 * (expected * (1 - expected) / whole) ** 0.5
    return bool(abs(part / whole - expected) <= tolerance)


@pytest.mark.parametrize("name", MESSAGES)
def test_shares_of_messages(large: Settings, name: str) -> None:
    condition, among, expected = MESSAGES[name]
    shares = rows(large, f"select count(*) filter (where {condition}), count(*) from raw.messages where {among}")
    assert within(shares, expected), shares


EVENTS = {
    "duplicated": ("is_duplicated", "true", like.DUPLICATED),
    "machine opens": ("is_machine", "event_type = 'opened' and event_id like '%\\_7'", like.MACHINE_OPENS),
    "machine clicks": ("is_machine", "event_type = 'clicked'", like.MACHINE_CLICKS),
    "an unknown type": ("event_type = 'rendered'", "true", like.UNKNOWN_TYPE),
}


@pytest.mark.parametrize("name", EVENTS)
def test_shares_of_events(large: Settings, name: str) -> None:
    condition, among, expected = EVENTS[name]
    shares = rows(
        large,
        f"""
        with events as (
            select events.*, loads.is_duplicated
            from raw.distinct_events as events
            join (select event_id, count(*) > 1 as is_duplicated from raw.email_events group by event_id) as loads
                using (event_id)
        )

        select count(*) filter (where {condition}), count(*) from events where {among}
        """,
    )
    assert within(shares, expected), shares


def test_bounces_have_the_kinds_of_the_distributions(large: Settings) -> None:
    kinds = rows(
        large,
        """
        select smtp_status, smtp_code, diagnostic, count(*)
        from raw.distinct_events where event_type = 'bounced' group by 1, 2, 3
        """,
    )
    bounces = sum(count for *_, count in kinds)
    expected = {(status, code, text): share for share, status, code, text in like.BOUNCES}
    assert sum(expected.values()) == pytest.approx(1)
    assert {kind[:3] for kind in kinds} == set(expected)
    for *kind, count in kinds:
        assert within([(count, bounces)], expected[kind[0], kind[1], kind[2]]), kind


def test_campaigns_differ_in_size_and_those_not_started_send_nothing(large: Settings) -> None:
    sizes = dict(
        rows(
            large,
            """
            select campaigns.campaign_id, count(messages.message_id)
            from raw.campaigns as campaigns
            left join raw.messages as messages using (campaign_id)
            group by 1
            """,
        )
    )
    statuses = dict(rows(large, "select campaign_id, status from raw.campaigns"))
    assert set(statuses.values()) == {"draft", "scheduled", "sending", "paused", "completed"}
    assert {sizes[name] for name, status in statuses.items() if status in like.NOT_STARTED} == {0}
    assert all(sizes[name] > 0 for name, status in statuses.items() if status not in like.NOT_STARTED)
    assert sizes["cmp_demo_1"] / sizes["cmp_demo_2"] == pytest.approx(2**like.ZIPF, rel=0.1)
    assert sizes["cmp_demo_1"] / sizes["cmp_demo_10"] == pytest.approx(10**like.ZIPF, rel=0.15)


@pytest.mark.parametrize(
    ("part", "weights"),
    [("isodow from sent_at) - 1", like.WEEKDAYS), ("hour from sent_at)", like.HOURS)],
    ids=["weekday", "hour"],
)
def test_volume_follows_the_weekday_and_the_hour(large: Settings, part: str, weights: tuple[float, ...]) -> None:
    with connect(large, "mailmart_owner") as connection:
        connection.execute("set timezone = 'UTC'")
        counts = connection.execute(
            f"select extract({part}, count(*) from raw.messages where is_sent group by 1".encode()
        ).fetchall()
    sent = sum(count for _, count in counts)
    assert len(counts) == len(weights)
    for position, count in counts:
        assert within([(count, sent)], weights[int(position)] / sum(weights)), position


def test_events_happen_in_order_but_are_loaded_out_of_order(large: Settings) -> None:
    assert rows(
        large,
        """
        select
            count(*) filter (where events.event_type not in ('queued', 'sent') and events.occurred_at < messages.sent_at),
            count(*) filter (where events.occurred_at > events.loaded_at),
            count(*) filter (where events.event_type in ('opened', 'clicked', 'replied') and
                events.occurred_at > messages.sent_at + interval '1 day') > 100
        from raw.distinct_events as events
        join raw.messages as messages using (message_id)
        """,
    ) == [(0, 0, True)]
    [(before_sent, others)] = rows(
        large,
        """
        with loads as (
            select
                message_id,
                min(loaded_at) filter (where event_type = 'sent') as sent_loaded_at,
                min(loaded_at) filter (where event_type = 'delivered') as delivered_loaded_at
            from raw.email_events
            group by message_id
        )

        select count(*) filter (where delivered_loaded_at < sent_loaded_at), count(*)
        from loads where sent_loaded_at is not null and delivered_loaded_at is not null
        """,
    )
    assert before_sent / others > like.LATE / 2


def test_the_apps_tables_have_the_odd_values_of_real_ones(large: Settings) -> None:
    # time zones with offsets of half an hour and of three quarters
    assert rows(
        large,
        """
        select count(*) filter (where extract(minute from zones.utc_offset) in (30, -30)) > 0,
            count(*) filter (where extract(minute from zones.utc_offset) in (45, -45)) > 0,
            count(zones.name) = count(*)
        from raw.workspaces left join pg_timezone_names as zones on workspaces.timezone = zones.name
        """,
    ) == [(True, True, True)]
    # both shapes of a block list's result, with some listed
    assert rows(
        large,
        """
        select distinct jsonb_typeof(result.value) from raw.smtp_ip_addresses
        cross join jsonb_each(provider_blacklist_status) as result order by 1
        """,
    ) == [("boolean",), ("object",)]
    assert number(large, "select count(*) from raw.smtp_ip_addresses where provider_blacklist_status::text like '%true%'") > 0
    assert number(large, "select count(*) from raw.domain_ip_assignments") > 0
