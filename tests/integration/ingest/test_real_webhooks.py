"""Every webhook of a corpus, loaded and built, compared field by field with what an independent implementation reads in it."""

from __future__ import annotations

import re
from datetime import datetime

import psycopg
import pytest

from api.db.connection import connect
from api.settings import Settings
from tests.integration.ingest.real_webhooks import cases, lines
from tests.support.shared import needs_shared_data

pytestmark = needs_shared_data


# field → whether it is what the other implementation reads
Agreement = dict[str, bool]


@pytest.fixture(scope="module")
def agreements(ingested: Settings) -> dict[tuple[str, int], Agreement]:
    """What agrees in each case."""
    with connect(ingested, "mailmart_owner") as connection:
        return {(provider, number): compared(connection, provider, number) for provider, number in cases()}


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case[0]}-{case[1]}")
def test_the_event_equals_the_independent_one(agreements: dict[tuple[str, int], Agreement], case: tuple[str, int]) -> None:
    assert [name for name, agrees in agreements[case].items() if not agrees] == []


def test_score_by_field(agreements: dict[tuple[str, int], Agreement]) -> None:
    """Prints how many cases agree, by field and provider; run with -s to see it."""
    scores: dict[str, list[bool]] = {}
    for (provider, _), agreement in agreements.items():
        for name, agrees in agreement.items():
            scores.setdefault(f"{provider} {name}", []).append(agrees)
            scores.setdefault(f"all {name}", []).append(agrees)
    for name, results in sorted(scores.items()):
        print(f"{name}: {sum(results)} of {len(results)}")
    assert scores


def compared(connection: psycopg.Connection, provider: str, number: int) -> Agreement:
    """Only `event` is there for what is no event of a message."""
    [event] = lines(provider)[number]["expected"]
    workspace = f"{provider}-{number}"
    # engagement without a message, as SparkPost's in the corpus, is rejected later
    is_complete = event["message_id"] is not None or event["event_type"] == "unknown"
    table = (
        "core.fct_email_events"
        if is_complete
        else "(select distinct on (workspace_id, event_id) * from staging.int_loaded_events) as events"
    )
    rows = connection.execute(
        "select event_type, occurred_at, provider_message_id, recipient_domain, recipient_hash, diagnostic,"
        " app.mask_addresses(%s), url, smtp_status, app.recipient_hash(%s)"
        f" from {table} where workspace_id = %s order by occurred_at".encode(),
        (event["mta_response"], event["recipient"], workspace),
    ).fetchall()
    if event["event_type"] == "unknown":
        left_out = connection.execute("select reason from marts.left_out where workspace_id = %s", (workspace,)).fetchall()
        return {"event": rows == [] and left_out == [("account_event",)]}
    if len(rows) != 1:
        return {"event": False}
    [(kind, occurred_at, message, domain, recipient, diagnostic, mta_response, url, status, recipient_expected)] = rows
    results = {
        "event": True,
        "event_type": kind == event["event_type"],
        "message_id": message == (None if event["message_id"] is None else str(event["message_id"])),
        "recipient": recipient == recipient_expected and domain == event["recipient"].split("@")[1],
        "url": url == event["click_url"],
    }
    # it reads an example of Brevo's documentation, whose milliseconds are seconds, as of 1970
    if provider != "ses" and event["timestamp"] is not None and not event["timestamp"].startswith("1970"):
        # the other implementation truncates times, and uses the envelope's time for SES
        tolerance = 1 if provider == "postal" else 0.001
        results["time"] = abs((occurred_at - datetime.fromisoformat(event["timestamp"])).total_seconds()) < tolerance
    if kind == "bounced" and mta_response is not None:
        results["diagnostic"] = diagnostic.strip() == mta_response.strip()
        # not every server names one
        named = re.search(r"\b[245]\.\d{1,3}\.\d{1,3}\b", event["mta_response"])
        results["status"] = status == (named[0] if named else None)
    return results
