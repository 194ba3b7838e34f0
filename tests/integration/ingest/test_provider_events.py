"""Every event type that a provider documents, as an example written by hand, through staging."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest
from psycopg.rows import dict_row

from api.db.connection import connect
from api.intake.sources import WEBHOOK_PROVIDERS
from api.settings import Settings
from tests.integration.ingest.documented_events import BOUNCES, CASES, FIELDS, LABELED, MALFORMED, MODULES, WITH_ONE_ID


class Staging:
    """The staged events of the build."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._events: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def events(self, provider: str, workspace: str) -> list[dict[str, Any]]:
        """The events of a workspace; a provider's view is read once for all workspaces."""
        if provider not in self._events:
            by_workspace = self._events[provider] = defaultdict(list)
            with connect(self.settings, "mailmart_owner") as connection, connection.cursor(row_factory=dict_row) as cursor:
                for row in cursor.execute(
                    f"select * from staging.stg_{provider}_events where workspace_id ~ '^(case|bounce|labeled)-'".encode()
                ):
                    by_workspace[row["workspace_id"]].append(row)
        return self._events[provider][workspace]

    def column(self, provider: str, workspace: str, name: str) -> list[Any]:
        """A column's values in order, nulls last."""
        return sorted((event[name] for event in self.events(provider, workspace)), key=lambda value: (value is None, value))


@pytest.fixture(scope="module")
def staging(ingested: Settings) -> Staging:
    return Staging(ingested)


@pytest.fixture(scope="module")
def bounce_reasons(ingested: Settings) -> dict[str, list[str]]:
    """The reasons of the bounces in each workspace."""
    reasons = defaultdict(list)
    with connect(ingested, "mailmart_owner") as connection:
        for workspace, reason in connection.execute(
            "select workspace_id, bounce_reason from core.fct_email_events where workspace_id like 'bounce-%'"
        ):
            reasons[workspace].append(reason)
    return reasons


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: f"{CASES[number][0]}-{number}")
def test_a_documented_event_has_its_type(staging: Staging, number: int) -> None:
    provider, _, expected = CASES[number]
    assert staging.column(provider, f"case-{number}", "event_type") == expected
    if expected:
        assert len(set(staging.column(provider, f"case-{number}", "event_id"))) == len(expected)
        assert None not in staging.column(provider, f"case-{number}", "occurred_at")
        assert None not in staging.column(provider, f"case-{number}", "message_id")


def test_malformed_bodies_do_not_stop_a_build(staging: Staging) -> None:
    with connect(staging.settings, "mailmart_owner") as connection:
        accepted = connection.execute(
            "select distinct workspace_id from core.fct_email_events where workspace_id like 'malformed-%'"
        ).fetchall()
        built = connection.execute("select status from app.batches order by batch_id desc limit 1").fetchone()
    assert [MALFORMED[int(workspace.partition("-")[2])] for (workspace,) in accepted] == []
    assert built == ("built",)


def test_a_body_of_another_provider_is_reported_and_not_misread(staging: Staging) -> None:
    with connect(staging.settings, "mailmart_owner") as connection:
        misread = connection.execute(
            "select provider, workspace_id, event_type from staging.int_loaded_events where workspace_id like 'misnamed-%'"
        ).fetchall()
        reported = connection.execute(
            "select distinct provider || ' ' || workspace_id from staging.stg_rejected_payloads"
            " where workspace_id like 'misnamed-%'"
        ).fetchall()
    assert [(provider, CASES[int(case.split("-")[1])], kind) for provider, case, kind in misread] == []
    assert len(reported) == len(CASES) * (len(WEBHOOK_PROVIDERS) - 1)


def number_of(provider: str, event_type: str, index: int = 0) -> str:
    numbers = [number for number, case in enumerate(CASES) if case[0] == provider and case[2][:1] == [event_type]]
    return f"case-{numbers[index]}"


def test_all_events_of_a_message_have_one_message_id(staging: Staging) -> None:
    for provider in WITH_ONE_ID:
        ids = {
            message_id
            for number, case in enumerate(CASES)
            if case[0] == provider
            for message_id in staging.column(provider, f"case-{number}", "message_id")
        }
        assert len(ids) == 1, provider


def test_each_of_several_recipients_has_a_message_of_its_own(staging: Staging) -> None:
    both = staging.column("ses", number_of("ses", "delivered", 1), "message_id")
    alone = staging.column("ses", number_of("ses", "delivered", 0), "message_id")
    assert len(set(both)) == 2
    assert alone[0] in both


def test_details_of_an_event_are_read(staging: Staging) -> None:
    deferred = number_of("sendgrid", "deferred")
    assert staging.column("sendgrid", deferred, "smtp_status") == ["4.7.1"]
    assert staging.column("sendgrid", deferred, "smtp_code") == [451]
    assert staging.column("sendgrid", number_of("sendgrid", "opened"), "is_machine") == [True]
    assert staging.column("mailgun", number_of("mailgun", "opened"), "is_machine") == [True]
    assert staging.column("sendgrid", number_of("sendgrid", "bounced", 1), "bounce_type") == ["blocked"]
    assert staging.column("ses", number_of("ses", "sent"), "campaign_id") == ["c"]
    assert staging.column("sendgrid", deferred, "recipient_domain") == ["example.com"]


@pytest.mark.parametrize("number", range(len(BOUNCES)), ids=lambda number: f"{BOUNCES[number][0]}-{number}")
def test_a_bounce_has_its_reason(bounce_reasons: dict[str, list[str]], number: int) -> None:
    assert bounce_reasons[f"bounce-{number}"] == [BOUNCES[number][2]]


@pytest.mark.parametrize("provider", MODULES)
def test_custom_fields_and_tags_of_a_module_are_read(staging: Staging, provider: str) -> None:
    names = ("campaign_id", "mailbox_id", "domain_id", "sequence_id", "step", "variant")
    with connect(staging.settings, "mailmart_owner") as connection:
        rows = connection.execute(
            f"select {', '.join(names)}, tags from staging.stg_{provider}_events"
            " where workspace_id like 'case-%' and sequence_id is not null limit 1"
        ).fetchall()
    [(*values, tags)] = rows
    assert values == ["c1", "mb1", "d1", "s1", "2", "b"]
    assert tags


def test_a_proxy_that_loads_pictures_is_a_machine(staging: Staging) -> None:
    assert staging.column("sparkpost", number_of("sparkpost", "opened"), "is_machine") == [True]
    parsed = [
        staging.column("sparkpost", f"case-{number}", "is_machine")
        for number, (provider, body, _) in enumerate(CASES)
        if provider == "sparkpost" and "user_agent_parsed" in json.dumps(body)
    ]
    # of a click it says nothing
    assert parsed == [[True], [None]]
    assert staging.column("brevo", number_of("brevo", "opened"), "is_machine") == [False]
    assert staging.column("brevo", number_of("brevo", "opened", 2), "is_machine") == [True]


def test_a_click_has_its_link(staging: Staging) -> None:
    linked = next(number for number, case in enumerate(LABELED) if "URL" in case[1])
    assert staging.column("brevo", f"labeled-{linked}", "url") == ["https://x.example/"]
    for provider in (*WITH_ONE_ID, "ses"):
        links = [
            link
            for number, (named, body, types) in enumerate(CASES)
            if named == provider and types == ["clicked"] and "https://" in json.dumps(body)
            for link in staging.column(provider, f"case-{number}", "url")
        ]
        assert None not in links, provider


def test_a_mail_of_several_recipients_is_one_message_if_its_events_do_not_say_whose_they_are(staging: Staging) -> None:
    one, several = number_of("resend", "sent", 0), number_of("resend", "sent", 1)
    assert staging.column("resend", one, "message_id") == staging.column("resend", several, "message_id")


def test_a_robot_that_says_so_is_a_machine(staging: Staging) -> None:
    assert staging.column("mandrill", number_of("mandrill", "opened", 0), "is_machine") == [None]
    assert staging.column("mandrill", number_of("mandrill", "opened", 1), "is_machine") == [True]


def test_what_a_message_has_is_read_for_its_events(staging: Staging) -> None:
    logged = next(number for number, case in enumerate(CASES) if case[0] == "mailgun" and "pagination" in case[1])
    assert staging.column("mailgun", f"case-{logged}", "campaign_id") == ["c", "c"]
    active = next(number for number, case in enumerate(CASES) if case[0] == "sendgrid" and "to_email" in case[1])
    assert staging.column("sendgrid", f"case-{active}", "campaign_id") == ["c"]
    assert staging.column("sendgrid", f"case-{active}", "recipient_domain") == ["example.com"]


@pytest.mark.parametrize("number", range(len(LABELED)), ids=lambda number: f"{LABELED[number][0]}-{number}")
def test_custom_fields_and_tags_are_read(staging: Staging, number: int) -> None:
    provider, _, tags = LABELED[number]
    [event] = staging.events(provider, f"labeled-{number}")
    assert {name: event[name] for name in FIELDS} == FIELDS
    assert event["tags"] == tags


def test_no_address_of_a_recipient_is_in_staging(staging: Staging) -> None:
    with connect(staging.settings, "mailmart_owner") as connection:
        for provider in (*WEBHOOK_PROVIDERS, "native"):
            readable = connection.execute(
                f"select count(*) from staging.stg_{provider}_events as event"
                " where (to_jsonb(event) - 'provider_message_id' - 'message_id')::text ~* '(jane|joe|a)(@|%%40)'"
            ).fetchone()
            assert readable == (0,), provider
