"""The patterns of synthetic mail: each is in the events as patterns.py states it, and none is in flat mail."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from api.db.connection import connect
from api.ingest.loader import PROVIDERS
from api.settings import Settings
from api.tools.synthetic import distributions as like
from api.tools.synthetic import patterns
from api.tools.synthetic.generate import GenerateOptions, generate
from api.tools.synthetic.provider_bodies import SHAPES

# long enough ago that no event is in the future
PAST = date(2025, 6, 29)
OPTIONS = GenerateOptions(workspaces=1, campaigns=5, messages=60_000, days=60, seed=5, until=PAST)
LISTED_SINCE = PAST - timedelta(days=patterns.LISTED_DAYS_AGO)
LISTED_UNTIL = LISTED_SINCE + timedelta(days=patterns.LISTED_DAYS - 1)


@pytest.fixture(scope="module")
def mail(module_settings: Settings) -> Settings:
    """A database with raw.messages: a row for each message, with the day that it was sent."""
    generate(module_settings, OPTIONS)
    with connect(module_settings, "mailmart_owner") as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(
            """
            create table raw.messages as
            select
                campaign_id,
                mailbox_id,
                domain_id,
                recipient_domain,
                step,
                variant,
                min(occurred_at) filter (where event_type = 'sent') as sent_at,
                (min(occurred_at) filter (where event_type = 'sent'))::date as sent_on,
                bool_or(event_type = 'bounced') as is_bounced,
                bool_or(event_type = 'delivered') as is_delivered,
                bool_or(event_type = 'complained') as is_complained,
                bool_or(event_type = 'opened' and is_machine is not true) as is_opened,
                bool_or(event_type = 'opened' and is_machine) as is_prefetched
            from raw.email_events
            group by message_id, 1, 2, 3, 4, 5, 6
            having bool_or(event_type = 'sent')
            """
        )
    return module_settings


def share(mail: Settings, part: str, among: str) -> tuple[float, float]:
    """The share of messages with `part` among others, and five standard errors of it."""
    with connect(mail, "mailmart_owner") as connection:
        row = connection.execute(
            f"select count(*) filter (where {part}), count(*) from raw.messages where {among}".encode()
        ).fetchone()
    assert row is not None
    count, whole = row
    assert whole > 100, among
    value = count / whole
    return value, 5 * (max(value, 0.001) * (1 - value) / whole) ** 0.5


def assert_ratio(one: tuple[float, float], other: tuple[float, float], expected: float) -> None:
    """That one share is `expected` times the other, as far as chance allows."""
    assert abs(one[0] - expected * other[0]) <= one[1] + expected * other[1], (one, other, expected)
    # more than two standard errors
    if expected != 1:
        assert abs(one[0] - other[0]) > (one[1] + other[1]) * 2 / 5, (one, other, expected)


LISTED = f"domain_id = 'dom_demo_1_{patterns.LISTED_DOMAIN}' and sent_on between '{LISTED_SINCE}' and '{LISTED_UNTIL}'"
TIRED = f"mailbox_id = 'mbx_demo_1_{patterns.TIRED_DOMAIN}_{patterns.TIRED_MAILBOX}'"
OTHERS = f"not ({LISTED}) and {TIRED} is not true"
HOUR = "extract(hour from sent_at at time zone 'America/New_York')"


@pytest.mark.parametrize(
    ("part", "one", "other", "expected"),
    [
        ("is_bounced", LISTED, OTHERS, patterns.LISTED_BOUNCES),
        ("is_opened", f"is_delivered and {LISTED}", f"is_delivered and {OTHERS}", patterns.LISTED_OPENS),
        ("is_bounced", TIRED, OTHERS, patterns.TIRED_BOUNCES),
        ("is_complained", f"is_delivered and {TIRED}", f"is_delivered and {OTHERS}", patterns.TIRED_COMPLAINTS),
        (
            "is_opened",
            "is_delivered and variant = 'B' and campaign_id = 'cmp_demo_1'",
            "is_delivered and variant = 'A' and campaign_id = 'cmp_demo_1'",
            patterns.VARIANT_B_OPENS,
        ),
        (
            "is_opened",
            "is_delivered and variant = 'B' and campaign_id = 'cmp_demo_2'",
            "is_delivered and variant = 'A' and campaign_id = 'cmp_demo_2'",
            1,
        ),
        (
            "is_opened",
            "is_delivered and campaign_id = 'cmp_demo_1'",
            "is_delivered and campaign_id = 'cmp_demo_4'",
            patterns.CAMPAIGN_OPENS[0] * (1 + patterns.VARIANT_B_OPENS) / (patterns.CAMPAIGN_OPENS[3] * 2),
        ),
        (
            "is_opened",
            "is_delivered and step = '1'",
            "is_delivered and step = '3'",
            patterns.STEP_OPENS[0] / patterns.STEP_OPENS[2],
        ),
        (
            "is_opened",
            f"is_delivered and {HOUR} = 10",
            f"is_delivered and {HOUR} = 13",
            patterns.HOUR_OPENS[10] / patterns.HOUR_OPENS[13],
        ),
    ],
    ids=["listed: bounces", "listed: opens", "tired: bounces", "tired: complaints", "B", "no B", "campaign", "step", "hour"],
)
def test_a_pattern_is_in_the_mail(mail: Settings, part: str, one: str, other: str, expected: float) -> None:
    assert_ratio(share(mail, part, one), share(mail, part, other), expected)


@pytest.mark.parametrize(("domain", "of_all", "opens", "prefetched"), patterns.RECIPIENTS)
def test_recipients_differ(mail: Settings, domain: str, of_all: float, opens: float, prefetched: float) -> None:
    of_domain = f"recipient_domain = '{domain}'"
    for value, tolerance, expected in (
        (*share(mail, of_domain, "true"), of_all),
        (*share(mail, "is_prefetched", f"is_delivered and {of_domain}"), prefetched),
    ):
        assert abs(value - expected) <= tolerance
    opened = share(mail, "is_opened", f"is_delivered and {of_domain}")
    of_gmail = share(mail, "is_opened", "is_delivered and recipient_domain = 'gmail.com'")
    assert abs(opened[0] - opens * of_gmail[0]) <= opened[1] + opens * of_gmail[1]


def test_a_mailbox_warms_up(mail: Settings) -> None:
    mailbox = f"mailbox_id = 'mbx_demo_1_{patterns.WARMING_DOMAIN}_{patterns.WARMING_MAILBOX}'"
    since = PAST - timedelta(days=patterns.WARMING_DAYS_AGO)
    of_domain = f"domain_id = 'dom_demo_1_{patterns.WARMING_DOMAIN}'"
    full = 1 / like.MAILBOXES_PER_DOMAIN
    before, _ = share(mail, mailbox, f"{of_domain} and sent_on <= '{since}'")
    assert before == 0
    for first, last in ((1, 10), (11, 20), (21, 30)):
        days = f"sent_on between '{since + timedelta(days=first)}' and '{since + timedelta(days=last)}'"
        value, tolerance = share(mail, mailbox, f"{of_domain} and {days}")
        assert abs(value - full * (first + last) / 2 / patterns.WARMING_DAYS) <= tolerance + 0.02, (first, value)
    value, tolerance = share(mail, mailbox, f"{of_domain} and sent_on > '{since + timedelta(days=patterns.WARMING_DAYS)}'")
    assert abs(value - full) <= tolerance


def rows(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with connect(settings, "mailmart_owner") as connection:
        return connection.execute(statement.encode()).fetchall()


def test_links_and_user_agents(mail: Settings) -> None:
    links = dict(rows(mail, "select url, count(*) from raw.email_events where event_type = 'clicked' group by 1"))
    assert {link.split("?")[0].rstrip("0123456789") for link in links} == {
        link.split("?")[0].replace("{campaign}", "") for link, _ in patterns.LINKS
    }
    agents = rows(
        mail,
        "select distinct event_type, coalesce(is_machine, false), user_agent from raw.email_events where user_agent is not null",
    )
    assert {agent for kind, is_machine, agent in agents if kind == "opened" and is_machine} == set(patterns.PROXIES)
    assert {agent for kind, is_machine, agent in agents if kind == "clicked" and is_machine} == set(patterns.SCANNERS)
    assert {agent for _, is_machine, agent in agents if not is_machine} == set(patterns.PROGRAMS)


def test_the_list_names_the_day(mail: Settings) -> None:
    [(listed,)] = rows(
        mail,
        "select provider_blacklist_status #> '{spamhaus}' from raw.smtp_ip_addresses"
        f" where smtp_ip_address_id = 'ip_demo_1_{patterns.LISTED_DOMAIN}'",
    )
    assert listed == {"listed": True, "since": LISTED_SINCE.isoformat()}


def test_every_provider_has_bodies(mail: Settings) -> None:
    assert set(SHAPES) == set(PROVIDERS) - {"native"}
    counts = dict(rows(mail, "select provider, count(*) from raw.webhook_payloads group by 1"))
    assert set(counts) == set(SHAPES)
    assert rows(mail, "select count(*) from raw.rejected_payloads") == [(0,)]
