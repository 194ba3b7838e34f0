"""Every webhook of a corpus, loaded and built, compared with what an independent implementation reads in it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from api.db.connection import connect
from api.settings import Settings
from tests.support.command import mailmart
from tests.support.dbt import WITHOUT_TESTS, run_dbt
from tests.support.shared import DATA, needs_shared_data

# of these, only bounces have the receiving server's text in the same words
FIRST = ("sendgrid", "ses", "postmark", "mailgun")
PROVIDERS = (*FIRST, "resend", "sparkpost", "mailjet", "brevo", "mailersend", "mailtrap", "mandrill", "postal")

pytestmark = needs_shared_data


def cases() -> Iterator[tuple[str, int]]:
    for provider in PROVIDERS:
        path = DATA / "webhooks" / f"{provider}.jsonl"
        if path.exists():
            yield from ((provider, number) for number in range(len(path.read_text().splitlines())))


def lines(provider: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "webhooks" / f"{provider}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def loaded(module_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Each body is in its own workspace, by which its event is found, and is loaded twice."""
    folder = tmp_path_factory.mktemp("bodies")
    for provider, number in cases():
        body: Path = folder / f"{provider}-{number}.json"
        body.write_text(json.dumps(lines(provider)[number]["payload"]))
        for _ in range(2):
            result = mailmart(module_settings, "ingest", "--provider", provider, "--workspace", f"{provider}-{number}", str(body))
            assert result.exit_code == 0, result.output
    run_dbt(module_settings, *WITHOUT_TESTS)
    return module_settings


def compared(settings: Settings, provider: str, number: int) -> dict[str, tuple[Any, Any]]:
    """What is read in a body and what is expected, by field. What the other implementation leaves empty is not compared."""
    (expected,) = lines(provider)[number]["expected"]
    with connect(settings, "mailmart_owner") as connection:
        if expected["event_type"] == "unknown":
            left_out = connection.execute("select reason from marts.left_out where workspace_id = %s", (f"{provider}-{number}",))
            return {"left_out": (left_out.fetchall(), [("account_event",)])}
        # both copies are the same
        rows = connection.execute(
            "select distinct event_type, occurred_at, provider_message_id, recipient_domain, recipient_hash, diagnostic,"
            " app.mask_addresses(%s), url, app.recipient_hash(%s)"
            " from staging.int_loaded_events where workspace_id = %s",
            (expected["mta_response"], expected["recipient"], f"{provider}-{number}"),
        ).fetchall()
    assert len(rows) == 1
    kind, occurred_at, message, domain, recipient, diagnostic, mta_response, url, recipient_expected = rows[0]
    fields = {
        "event_type": (kind, expected["event_type"]),
        "message_id": (message, None if expected["message_id"] is None else str(expected["message_id"])),
        "recipient_domain": (domain, expected["recipient"].split("@")[1]),
        "recipient": (recipient, recipient_expected),
        "click_url": (url, expected["click_url"]),
    }
    if mta_response is not None and (kind == "bounced" or provider not in FIRST):
        fields["mta_response"] = (diagnostic, mta_response)
    # the other implementation uses the envelope's time for SES; it reads an example of Brevo's documentation as of 1970
    if expected["timestamp"] is not None and provider != "ses" and not expected["timestamp"].startswith("1970"):
        at = datetime.fromisoformat(expected["timestamp"])
        # it truncates times
        tolerance = 1 if provider == "postal" else 0.001
        fields["timestamp"] = (at if abs((occurred_at - at).total_seconds()) < tolerance else occurred_at, at)
    return fields


@pytest.mark.parametrize(("provider", "number"), list(cases()))
def test_the_event_equals_the_independent_one(loaded: Settings, provider: str, number: int) -> None:
    fields = compared(loaded, provider, number)
    assert {name: found for name, (found, _) in fields.items()} == {name: expected for name, (_, expected) in fields.items()}


@pytest.mark.parametrize(("provider", "number"), list(cases()))
def test_the_event_counts_once(loaded: Settings, provider: str, number: int) -> None:
    """An event without a time or an id, as some of the corpus are, is rejected."""
    workspace = f"{provider}-{number}"
    with connect(loaded, "mailmart_owner") as connection:
        row = connection.execute(
            "select count(distinct event_id) filter (where message_id is not null and occurred_at is not null),"
            " (select count(*) from core.fct_email_events where workspace_id = %(workspace)s),"
            " (select count(*) from core.fct_email_events where workspace_id = %(workspace)s and event_type = 'bounced'"
            " and (smtp_status is null or diagnostic not like '%%' || smtp_status || '%%')"
            " and diagnostic ~ '[45][.][0-9]+[.][0-9]')"
            " from staging.int_loaded_events where workspace_id = %(workspace)s",
            {"workspace": workspace},
        ).fetchone()
    assert row is not None
    complete, counted, without_status = row
    assert counted == complete
    assert without_status == 0


def test_score_by_field(loaded: Settings) -> None:
    """Prints how many values are equal, of how many, by field: pytest -s."""
    found = [field for provider, number in cases() for field in compared(loaded, provider, number).items()]
    score = {name: Counter(value == expected for field, (value, expected) in found if field == name) for name, _ in found}
    print("", *(f"{name}: {counts[True]} of {counts.total()}" for name, counts in score.items()), sep="\n")
    assert all(counts[False] == 0 for counts in score.values())
