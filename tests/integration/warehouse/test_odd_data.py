"""Odd data of other systems fails no build, counts once and stays with its tenant; rejected events are counted."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Json

from api.db.connection import connect
from api.settings import Settings
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import ROWS, WITHOUT_UNIT_TESTS, run_dbt

NOW = datetime.now(UTC)
LOADED_AT = NOW - timedelta(hours=1)
YESTERDAY = NOW - timedelta(days=1)


def event(event_id: str, kind: str = "sent", **more: Any) -> Event:
    fields: dict[str, Any] = {"workspace_id": "w", "message_id": f"m_{event_id}", "occurred_at": YESTERDAY}
    return Event(event_id, event_type=kind, **{**fields, **more})


def long(letter: str) -> str:
    """An id that is too long for an index, of random letters, because PostgreSQL compresses repeated ones."""
    return letter + random.Random(letter).randbytes(4000).hex()


# what a replicated log can have in place of a hash, a domain and labels, and what of it is read
ODD_RECIPIENTS = {
    "clean": (("é" * 200, "Mail.EXAMPLE", " s1\t"), ("é" * 200, "mail.example", "s1")),
    "at_the_limit": (("h" * 400, "d" * 1000, "s" * 400), ("h" * 400, "d" * 1000, "s" * 400)),
    "of_many_bytes": (("é" * 401, "É" * 999, " " * 200 + "é" * 200), ("é" * 400, "é" * 999, "é" * 200)),
    "too_long": (("h" * 401, "D" * 1001, "s" * 401), ("h" * 400, "d" * 1000, "5a5df935b35617b0613a79a9f607473d")),
    "addresses": (("jane@example.com", "jane@Mail.example", " \n"), ("hashed", "mail.example", None)),
    "late_address": (("h" * 399 + "@b", "x" * 1000 + "@b", None), ("hashed", "x" * 1000, None)),
    "ends_with_an_at": (("", "jane@", ""), ("", "", None)),
    "nothing": ((None, None, None), (None, "", None)),
}

ODD = [
    # rejected, each for its problem
    event("no_workspace", workspace_id=None),
    event("empty_workspace", workspace_id=""),
    event("no_message", message_id=None),
    event("no_type", kind=""),
    event("no_time", occurred_at=None),
    event("future", occurred_at=NOW + timedelta(days=3)),
    Event(None, "w", "m", "sent", YESTERDAY),
    # valid
    event("unknown_type", "teleported"),
    event("nowhere", campaign_id="in_no_app_table", mailbox_id="in_no_app_table", domain_id="in_no_app_table"),
    event("empty", campaign_id="", mailbox_id="", domain_id="", recipient_domain=""),
    event("no_domain", mailbox_id="b_without_domain"),
    # clocks that go backwards: delivered, bounced and clicked before it was sent
    event("back1", message_id="back", occurred_at=NOW),
    event("back2", "delivered", message_id="back", occurred_at=NOW - timedelta(days=3)),
    event("back3", "clicked", message_id="back", occurred_at=NOW - timedelta(days=4)),
    event("long_text", "bounced", diagnostic="550 no such user jane@example.com " + "x" * 10_000_000),
    event("long_word", "bounced", diagnostic="y" * 3990 + "jane@example.com" + "y" * 100),
    event(long("i"), campaign_id=long("c"), mailbox_id=long("b"), domain_id=long("d"), message_id=long("m")),
    event("of_a_long_workspace", workspace_id=long("w")),
    event("strange", campaign_id="' or 1 = 1 --", mailbox_id="\N{RIGHT-TO-LEFT OVERRIDE}\N{PILE OF POO}", domain_id="%_\\"),
    # the same ids in another workspace are another message's
    event("shared", message_id="shared", campaign_id="c"),
    event("shared", message_id="shared", campaign_id="c", workspace_id="v"),
    event("shared_click", "clicked", message_id="shared", campaign_id="c", workspace_id="v"),
    event("shared_delivery", "delivered", message_id="shared", campaign_id="c", workspace_id="v"),
    # loaded again, with the same and with other content
    event("shared", message_id="shared", campaign_id="c"),
    event("shared", message_id="shared", campaign_id="another"),
]

WEBHOOKS: list[Any] = [
    {"event": "delivered", "timestamp": "now", "email": "a@b.example", "sg_message_id": "x"},
    {"event": "delivered", "timestamp": 1e300, "email": "a@b.example", "sg_message_id": "x"},
    {"event": ["delivered"], "timestamp": {}, "email": [], "sg_message_id": {"a": 1}},
    {"event": None},
    "text",
    [[[]]],
    None,
    7,
]


@pytest.fixture(scope="module")
def built(empty_warehouse: Settings) -> Settings:
    with connect(empty_warehouse, "mailmart_owner") as connection:
        connection.execute(
            "insert into raw.workspaces (workspace_id, timezone) values ('w', 'Mars/Base'), ('v', ''), ('', 'UTC')"
        )
        connection.execute("insert into raw.mailboxes (mailbox_id, workspace_id) values ('b_without_domain', 'w'), ('', 'w')")
        connection.execute("insert into raw.mailboxes (mailbox_id, workspace_id, domain_id) values ('b', 'w', 'd_of_a_mailbox')")
        connection.execute("insert into raw.domains (domain_id, workspace_id) values ('d', 'w')")
        connection.execute("insert into raw.smtp_ip_addresses (smtp_ip_address_id) values ('i')")
        connection.execute(
            "insert into raw.domain_ip_assignments (domain_id, smtp_ip_address_id, status)"
            " values ('d', 'i', 'active'), ('d', 'i_unknown', 'active')"
        )
        connection.execute(
            "insert into raw.campaigns (campaign_id, workspace_id, status) values ('', 'w', 'x'), ('lost', null, null)"
        )
        for provider in ("sendgrid", "ses", "postmark", "mailgun", "carrier_pigeon"):
            for body in WEBHOOKS:
                connection.execute(
                    "insert into raw.webhook_payloads (provider, workspace_id, payload) values (%s, 'w', %s)",
                    (provider, Json(body)),
                )
        for event_id, (values, _) in ODD_RECIPIENTS.items():
            connection.execute(
                "insert into raw.email_events"
                " (event_id, workspace_id, message_id, event_type, occurred_at, recipient_hash, recipient_domain, sequence_id)"
                " values (%s, 'rr', %s, 'queued', now(), %s, %s, %s)",
                (event_id, event_id, *values),
            )
    load_events(empty_warehouse, ODD, LOADED_AT)
    # two contents of one event, loaded at the same time, in both orders
    rivals = [(campaign, workspace) for workspace in ("t1", "t2") for campaign in ("a", "b")]
    for campaign, workspace in (*rivals[:2], *reversed(rivals[2:])):
        load_events(empty_warehouse, [event("rival", campaign_id=campaign, workspace_id=workspace, message_id="m")], LOADED_AT)
    run_dbt(empty_warehouse, *ROWS)
    # and again, with nothing new
    run_dbt(empty_warehouse, *WITHOUT_UNIT_TESTS)
    return empty_warehouse


def rows(settings: Settings, query: str) -> list[dict[str, Any]]:
    with connect(settings, "mailmart_analyst") as connection:
        return connection.cursor(row_factory=dict_row).execute(query.encode()).fetchall()


def test_nothing_counts_twice_or_crosses_tenants(built: Settings) -> None:
    found = rows(
        built,
        "select workspace_id, emails_sent, emails_clicked from marts.workspace_overview"
        " where workspace_id in ('v', 'w') order by workspace_id",
    )
    valid = {(e.workspace_id, e.message_id) for e in ODD if e.workspace_id and e.message_id and e.event_type and e.occurred_at}
    sent = {w: len({m for v, m in valid if v == w} - {"m_future", "m_unknown_type"}) for w in ("v", "w")}
    # the event without an id makes no message
    sent["w"] -= 1
    assert found == [
        {"workspace_id": "v", "emails_sent": sent["v"], "emails_clicked": 1},
        {"workspace_id": "w", "emails_sent": sent["w"], "emails_clicked": 1},
    ]


def test_rejected_events_are_counted(built: Settings) -> None:
    found = rows(
        built,
        "select workspace_id, problem, events, unknown_words from marts.data_quality"
        " where provider = 'native' and workspace_id not like 't_'",
    )
    assert [row["unknown_words"] for row in found if row["unknown_words"]] == ["teleported"]
    assert {(row["workspace_id"], row["problem"]): row["events"] for row in found} == {
        ("", "no_workspace"): 2,
        ("w", "no_event_id"): 1,
        ("w", "no_message"): 1,
        ("w", "no_event_type"): 1,
        ("w", "no_time"): 1,
        ("w", "future_timestamp"): 1,
        ("w", "unknown_event_type"): 1,
        ("w", "conflicting_duplicate"): 1,
    }
    webhooks = rows(
        built, "select provider, problem, events from marts.data_quality where provider not similar to 'native|app.%'"
    )
    assert {(row["provider"], row["problem"]): row["events"] for row in webhooks} == {
        # of each body without an event, one
        ("sendgrid", "no_time"): 1,
        ("sendgrid", "unreadable_body"): 7,
        ("ses", "unreadable_body"): 8,
        ("postmark", "unreadable_body"): 8,
        ("mailgun", "unreadable_body"): 8,
        ("carrier_pigeon", "unknown_provider"): 8,
    }


def test_of_two_copies_loaded_at_once_the_same_one_always_counts(built: Settings) -> None:
    found = rows(built, "select workspace_id, campaign_id from core.fct_email_events where event_id = 'rival' order by 1")
    assert found == [{"workspace_id": "t1", "campaign_id": "a"}, {"workspace_id": "t2", "campaign_id": "a"}]
    rejected = rows(built, "select workspace_id, problem, events from marts.data_quality where workspace_id like 't_' order by 1")
    assert rejected == [
        {"workspace_id": workspace, "problem": "conflicting_duplicate", "events": 1} for workspace in ("t1", "t2")
    ]


def test_a_domain_that_only_a_mailbox_names_exists(built: Settings) -> None:
    found = rows(built, "select domain, is_in_app from core.dim_domains where domain_id = 'd_of_a_mailbox'")
    assert found == [{"domain": "d_of_a_mailbox", "is_in_app": False}]


def test_an_address_that_is_not_in_the_app_was_not_checked(built: Settings) -> None:
    assert rows(built, "select ips_checked from marts.blacklist_status where workspace_id = 'w'") == [{"ips_checked": 1}]


@pytest.mark.parametrize("zone", ["UTC", "Africa/Cairo", "America/Santiago"])
def test_a_series_has_every_day_in_any_session(built: Settings, zone: str) -> None:
    # clocks that change at midnight, in either half of the year
    with connect(built, "mailmart_analyst") as connection:
        connection.execute("select set_config('timezone', %s, true)", (zone,))
        for start, end in (("2026-04-20", "2026-04-24"), ("2026-09-02", "2026-09-06")):
            for name, value in (("range_start", start), ("range_end", end), ("campaign_id", "in_no_app_table")):
                connection.execute("select set_config(%s, %s, true)", (f"mailmart.{name}", value))
            found = connection.execute("select date from marts.campaign_series where workspace_id = 'w'").fetchall()
            assert [str(day) for (day,) in found] == [f"{start[:-2]}{int(start[-2:]) + days:02}" for days in range(5)]


def test_a_build_warns_of_rejected_events(built: Settings) -> None:
    load_events(built, [event("another", occurred_at=None)], datetime.now(UTC))
    output = run_dbt(built, *WITHOUT_UNIT_TESTS).stdout
    assert "WARN 1 nothing_is_rejected" in output
    assert "WARN=1 ERROR=0" in output
    # which events, and what to do
    assert "- 1 of native, workspace w: no_time. Send the time as Unix seconds or as ISO 8601 with a time zone" in output


def test_long_texts_are_cut_and_masked(built: Settings) -> None:
    found = rows(
        built, "select event_id, diagnostic, bounce_reason from core.fct_email_events where event_id like 'long%' order by 1"
    )
    assert [row["bounce_reason"] for row in found] == ["invalid_recipient", "undetermined"]
    assert all(len(row["diagnostic"]) <= 4000 for row in found)
    assert not any("jane" in row["diagnostic"] or "example.com" in row["diagnostic"] for row in found)


def test_recipients_and_labels_of_a_replicated_log_are_cleaned(built: Settings) -> None:
    found = rows(
        built,
        "select event_id, regexp_replace(recipient_hash, '^[0-9a-f]{64}$', 'hashed') as hash, recipient_domain, sequence_id"
        " from core.fct_email_events where workspace_id = 'rr'",
    )
    expected = {event_id: values for event_id, (_, values) in ODD_RECIPIENTS.items()}
    assert {row.pop("event_id"): tuple(row.values()) for row in found} == expected


def test_a_campaign_that_is_not_in_the_app_is_named_by_its_id(built: Settings) -> None:
    found = rows(built, "select campaign_id, campaign_name from core.dim_campaigns where workspace_id = 'w'")
    names = {row["campaign_id"]: row["campaign_name"] for row in found}
    assert names["in_no_app_table"] == "in_no_app_table"
    assert names["' or 1 = 1 --"] == "' or 1 = 1 --"
    assert "" not in names
    assert max(map(len, names)) <= 400


def test_an_unknown_zone_is_utc(built: Settings) -> None:
    found = rows(built, "select workspace_id, timezone from core.dim_workspaces where length(workspace_id) = 1 order by 1")
    assert found == [{"workspace_id": "v", "timezone": "UTC"}, {"workspace_id": "w", "timezone": "UTC"}]


def test_the_rules_that_a_row_breaks_are_named(built: Settings) -> None:
    current = "valid_to = 9223372036854775807"
    with connect(built, "mailmart_owner") as connection:
        row = connection.execute(
            f"select campaign_id, is_hard_bounced, workspace_id, message_id from core.fct_messages where {current}"
            " and not is_bounced limit 1"
        ).fetchone()
        assert row is not None
        change = (
            "update core.fct_messages set campaign_id = %s, is_hard_bounced = %s"
            f" where workspace_id = %s and message_id = %s and {current}"
        )
        connection.execute(change, (None, True, *row[2:]))
    output = run_dbt(built, "test", "--select", "fct_messages,test_name:valid_rows", check=False).stdout
    with connect(built, "mailmart_owner") as connection:
        connection.execute(change, row)
    assert "Failure in test valid_rows_fct_messages " in output
    assert "Without a value in fct_messages: campaign_id (rows: 1)." in output
    assert "Too large in fct_messages: is_hard_bounced::int > is_bounced::int (rows: 1)." in output
