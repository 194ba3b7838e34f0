"""Bodies that an operator replicates into raw.webhook_payloads, without the bounds of `mailmart ingest`: none stops a build."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from api.builds.slow_payloads import exclude_slow_payloads
from api.db.connection import connect
from api.settings import Settings
from tests.support.command import mailmart
from tests.support.dbt import ROWS, WITHOUT_TESTS, run_dbt
from tests.support.waiting import wait_for_waiting

# made by PostgreSQL, so that no test sends megabytes
WIDE = "(select jsonb_agg('1e131071'::jsonb) from generate_series(1, 50000))"
NASTY = {
    "400,000 elements": "(select jsonb_agg('{}'::jsonb) from generate_series(1, 400000))",
    "a page of 400,000": "jsonb_build_object('items', (select jsonb_agg('{}'::jsonb) from generate_series(1, 400000)))",
    "100 MB of text": "(select jsonb_object_agg(n, repeat('x', 900000)) from generate_series(1, 100) as n)",
    "2,000 levels": "(repeat('[', 2000) || repeat(']', 2000))::jsonb",
    "wide numbers": f"jsonb_build_object('event', {WIDE})",
    "no object": "'[1, [{}]]'::jsonb",
    "a text": "'\"text\"'::jsonb",
}
PROBLEMS = {
    "400,000 elements": "too_many_events",
    "a page of 400,000": "too_many_events",
    "100 MB of text": "too_large",
}
# a field of every provider, with a text that regular expressions look at
TEXTS: dict[str, dict[str, Any]] = {
    "sendgrid": {"event": "bounce", "sg_message_id": "m.filter", "email": "a@b.example", "timestamp": 1762000000},
    "mailgun": {
        "event": "failed",
        "message": {"headers": {"message-id": "m"}},
        "recipient": "a@b.example",
        "timestamp": 1762000000,
        "delivery-status": {"message": "TEXT", "enhanced-code": "TEXT", "code": "TEXT"},
        "client-info": {"user-agent": "TEXT"},
    },
    "postmark": {
        "RecordType": "Bounce",
        "Type": "HardBounce",
        "MessageID": "m",
        "Email": "a@b.example",
        "Details": "TEXT",
        "BouncedAt": "2025-11-01T10:00:00Z",
    },
    "ses": {
        "eventType": "Bounce",
        "mail": {"messageId": "m"},
        "bounce": {
            "timestamp": "2025-11-01T10:00:00Z",
            "bouncedRecipients": [{"emailAddress": "a@b.example", "diagnosticCode": "TEXT", "status": "TEXT"}],
        },
    },
    "resend": {
        "type": "email.bounced",
        "created_at": "2025-11-01T10:00:00Z",
        "data": {
            "email_id": "m",
            "to": ["a@b.example"],
            "bounce": {"message": "TEXT", "type": "TEXT", "subType": "TEXT", "diagnosticCode": ["TEXT"]},
            "click": {"link": "TEXT", "userAgent": "TEXT"},
            "tags": {"step": "TEXT", "tags": ["TEXT"]},
        },
    },
    "sparkpost": {
        "msys": {
            "message_event": {
                "type": "bounce",
                "transmission_id": "m",
                "rcpt_to": "a@b.example",
                "timestamp": "1762000000",
                **dict.fromkeys(("raw_reason", "error_code", "bounce_class", "target_link_url", "user_agent"), "TEXT"),
            }
        }
    },
    "mailjet": {"event": "bounce", "time": 1762000000, "MessageID": "m", "email": "a@b.example"},
    "brevo": {"event": "hard_bounce", "message-id": "m", "email": "a@b.example", "ts_epoch": 1762000000000},
}
# the other providers' texts, which no regular expression of their own looks at
OTHER_TEXTS: dict[str, dict[str, Any]] = {
    "mailersend": {
        "type": "activity.hard_bounced",
        "created_at": "2025-11-01T10:00:00Z",
        "data": {
            "email": {"message": {"id": "m"}, "recipient": {"email": "a@b.example"}, "tags": ["TEXT"]},
            "morph": {"reason": "TEXT", "readable_reason": "TEXT", "url": "TEXT", "user_agent": "TEXT"},
        },
    },
    "mailtrap": {
        "event": "bounce",
        "event_id": "e",
        "timestamp": 1762000000,
        "message_id": "m",
        "email": "a@b.example",
        "response": "TEXT",
        "response_code": "TEXT",
        "bounce_category": "TEXT",
        "category": "TEXT",
        "url": "TEXT",
    },
    "mandrill": {
        "event": "hard_bounce",
        "_id": "m",
        "ts": 1762000000,
        "msg": {"email": "a@b.example", "diag": "TEXT", "bounce_description": "TEXT", "bgtools_code": "TEXT", "tags": ["TEXT"]},
        "user_agent": "TEXT",
        "user_agent_parsed": {"type": "TEXT"},
    },
    "postal": {
        "event": "MessageBounced",
        "timestamp": 1762000000,
        "uuid": "u",
        "payload": {
            "message": {"id": "m", "to": "a@b.example", "tag": "TEXT"},
            "details": "TEXT",
            "output": "TEXT",
            "url": "TEXT",
        },
    },
}
LONG = [
    "a" * 200_000,
    "550 5.1.1 <" * 20_000,
    "@" * 200_000,
    "1.1" * 70_000,
    " " * 200_000 + "x",
    "https://" + "%40" * 70_000,
]
# two are enough for those
OTHER_LONG = 2
MORE = {
    "sendgrid": ("reason", "status", "url", "useragent", "type", "unique_args"),
    "postmark": ("Date", "UserAgent", "OriginalLink"),
    "mailjet": ("smtp_reply", "error_related_to", "url", "agent", "Payload", "CustomID"),
    "brevo": ("reason", "link", "user_agent", "X-Mailin-custom", "tag"),
}


def bodies() -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for provider, body in (TEXTS | OTHER_TEXTS).items():
        for number, text in enumerate(LONG if provider in TEXTS else LONG[:OTHER_LONG]):
            # one message each, and one whose ids are long, too
            filled = json.loads(
                json.dumps(body)
                .replace('"TEXT"', json.dumps(text))
                .replace('"m"', f'"m{number}"')
                .replace('"m.f', f'"m{number}.f')
            )
            found.append((provider, filled | dict.fromkeys(MORE.get(provider, ()), text)))
            found.append(
                (
                    provider,
                    json.loads(
                        json.dumps(filled).replace("a@b.example", text[:200_000]).replace(f'"m{number}', f'"{text[:9000]}')
                    ),
                )
            )
    found.append(("sendgrid", TEXTS["sendgrid"] | {str(key): key for key in range(100_000)}))
    found.append(("ses", {"Type": "Notification", "Message": "[" * 6000}))
    recipients = [{"emailAddress": f"{number}@b.example"} for number in range(20_000)]
    found.append(("ses", TEXTS["ses"] | {"bounce": {"bouncedRecipients": recipients}}))
    return found


@pytest.fixture(scope="module")
def built(empty_warehouse: Settings) -> Settings:
    with connect(empty_warehouse, "mailmart_owner") as connection:
        for name, expression in NASTY.items():
            connection.execute(
                "insert into raw.webhook_payloads (provider, workspace_id, payload)"
                f" select provider, %s, payload from (select {expression} as payload offset 0) as body,"
                " unnest(%s::text[]) as provider",
                (name, list(TEXTS)),
            )
        for provider, body in bodies():
            connection.execute(
                "insert into raw.webhook_payloads (provider, workspace_id, payload) values (%s, 'w', %s)",
                (provider, json.dumps(body)),
            )
        connection.execute(
            "insert into raw.email_events (event_id, workspace_id, message_id, event_type, occurred_at, recipient_hash,"
            " recipient_domain, smtp_status, diagnostic, url, user_agent, campaign_id, mailbox_id, domain_id)"
            " select 'e', 'w', 'n', x, now() - interval '1 hour', x || '@', x || '@', x, x, x, x, x, x, x"
            " from repeat('y', 2000000) as x"
        )
        for time in ("4714-11-24 00:00:00 BC", "294276-12-31 23:59:59", "-infinity", "infinity"):
            connection.execute(
                "insert into raw.email_events (event_id, workspace_id, message_id, event_type, occurred_at, loaded_at)"
                " values (%s, 'times', %s, 'sent', %s, '294276-12-31 12:00:00')",
                (time, time, time),
            )
    run_dbt(empty_warehouse, *ROWS)
    return empty_warehouse


def rows(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with connect(settings, "mailmart_owner") as connection:
        return connection.execute(query.encode()).fetchall()


def test_each_unreadable_body_is_reported_and_the_others_are_read(built: Settings) -> None:
    found = rows(
        built, "select workspace_id, provider, problem, events from marts.data_quality where workspace_id not in ('w', 'times')"
    )
    assert sorted(found) == sorted(
        (name, provider, PROBLEMS.get(name, "unreadable_body"), 1) for name in NASTY for provider in TEXTS
    )


def test_long_texts_are_cut_and_their_events_are_read(built: Settings) -> None:
    # providers may give the same id
    events = "core.fct_email_events where workspace_id = 'w' and provider_message_id ~ '^<?m[0-9]'"
    messages = rows(built, f"select provider, count(distinct provider_message_id) from {events} group by provider")
    assert dict(messages) == dict.fromkeys(TEXTS, len(LONG)) | dict.fromkeys(OTHER_TEXTS, OTHER_LONG)
    columns = (
        "event_type",
        "provider_message_id",
        "smtp_status",
        "bounce_type",
        "diagnostic",
        "url",
        "user_agent",
        "recipient_domain",
    )
    longest = ", ".join(f"max(length({column}))" for column in columns)
    assert max(value for value in rows(built, f"select {longest} from core.fct_email_events")[0] if value) <= 4000


def test_a_body_that_is_slow_to_read_is_set_aside_by_itself_and_the_build_passes(
    built: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever makes it slow, and whichever provider's it is: here, a function of the staging views sleeps for an hour."""
    monkeypatch.setattr("api.builds.slow_payloads.SECONDS_PER_GROUP", 2.5)
    monkeypatch.setattr("api.builds.slow_payloads.GROUP_SIZE", 2)
    with connect(built, "mailmart_owner") as connection:
        row = connection.execute("select pg_get_functiondef('app.mask_addresses'::regproc)").fetchone()
        assert row is not None
        connection.execute(
            "create or replace function app.mask_addresses(said text) returns text language plpgsql as"
            " $$ begin if said like '%slow%' then perform pg_sleep(3600); end if; return said; end $$"
        )
        for number in range(7):
            body = TEXTS["sendgrid"] | {"sg_message_id": f"s{number}.filter", "reason": "slow" if number == 3 else "550 no"}
            connection.execute(
                "insert into raw.webhook_payloads (provider, workspace_id, payload) values ('sendgrid', 'slow', %s)",
                (json.dumps(body),),
            )
    try:
        build = mailmart(built, *WITHOUT_TESTS, "--vars", "model_timeout: 4s", "--target-path", str(built.home / "slow"))
        assert build.exit_code == 0, build.output
        assert "reading it takes longer than 2.5 s" in build.output
    finally:
        with connect(built, "mailmart_owner") as connection:
            connection.execute(row[0])
    (aside,) = rows(built, "select payload_id, reason, source from raw.rejected_payloads where workspace_id = 'slow'")
    assert aside[1:] == (f"webhook_payloads {aside[0]}: reading it takes longer than 2.5 s", f"webhook_payloads {aside[0]}")
    events = rows(built, "select count(*) from core.fct_email_events where workspace_id = 'slow'")
    problems = rows(built, "select provider, problem, events from marts.data_quality where workspace_id = 'slow'")
    assert (events, problems) == ([(6,)], [("sendgrid", "unreadable_body", 1)])
    # the body itself is kept, and nothing of the search is left
    (kept,) = rows(built, f"select payload ->> 'reason' from raw.webhook_payloads where payload_id = {aside[0]}")
    assert kept == ("slow",)
    assert exclude_slow_payloads(built, seconds=30) == []


def test_a_data_test_that_takes_too_long_says_what_to_do(built: Settings) -> None:
    with connect(built, "mailmart_owner") as connection:
        # waiting counts, and a quick machine reads this table in less than a millisecond
        connection.execute("lock table core.fct_email_events in access exclusive mode")
        selection = ("--select", "fct_email_events,test_name:one_version_at_a_time", "--vars", "test_timeout: 1ms")
        output = run_dbt(built, "test", *selection, check=False).stdout
    assert "canceling statement due to statement timeout" in output


@pytest.mark.parametrize(
    ("model", "table", "setting"),
    [("optimal_send_time", "fct_workspace_hours", "off"), ("fct_email_events", "fct_email_events", "on")],
)
def test_data_tests_of_marts_run_without_nested_loops(built: Settings, model: str, table: str, setting: str) -> None:
    """They read all workspaces at once: with thousands, nested loops over CTEs did not end. Tests of facts keep them."""
    waiting = "select query from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    with connect(built, "mailmart_owner") as connection, ThreadPoolExecutor(1) as pool:
        connection.execute(f"lock table core.{table} in access exclusive mode".encode())
        test = pool.submit(run_dbt, built, "test", "--select", f"{model},test_name:valid_rows")
        wait_for_waiting(built)
        # only the login sees what its sessions run
        with connect(built, None) as login:
            statements = login.execute(waiting.encode()).fetchall()
        connection.rollback()
        test.result()
    assert [f"set enable_nestloop = {setting};" in statement for (statement,) in statements] == [True]


def test_a_model_that_takes_too_long_says_what_to_do(built: Settings) -> None:
    output = run_dbt(built, *ROWS, "--vars", "{recompute: true, model_timeout: 1ms}", check=False).stdout
    assert "canceling statement due to statement timeout" in output
    assert "fct_email_events ran longer than model_timeout, 1ms" in output
