"""Every webhook of a corpus, loaded and built, compared field by field with what an independent implementation reads in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from api.db.connection import connect
from api.intake.sources import WEBHOOK_PROVIDERS
from api.settings import Settings
from tests.support.command import mailmart
from tests.support.dbt import WITHOUT_TESTS, run_dbt
from tests.support.shared import DATA, needs_shared_data

pytestmark = needs_shared_data


def cases() -> Iterator[tuple[str, int]]:
    for provider in WEBHOOK_PROVIDERS:
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


@pytest.mark.parametrize(("provider", "number"), list(cases()))
def test_the_event_equals_the_independent_one(loaded: Settings, provider: str, number: int) -> None:
    results = compared(loaded, provider, number)
    assert [name for name, agrees in results.items() if not agrees] == []


def test_score_by_field(loaded: Settings) -> None:
    """Prints how many cases agree, by field and provider; run with -s to see it."""
    scores: dict[str, list[bool]] = {}
    for provider, number in cases():
        for name, agrees in compared(loaded, provider, number).items():
            scores.setdefault(f"{provider} {name}", []).append(agrees)
            scores.setdefault(f"all {name}", []).append(agrees)
    for name, results in sorted(scores.items()):
        print(f"{name}: {sum(results)} of {len(results)}")
    assert scores


def compared(settings: Settings, provider: str, number: int) -> dict[str, bool]:
    """Field → whether it is what the other implementation reads. Only `event` is there for what is no event of a message."""
    [event] = lines(provider)[number]["expected"]
    workspace = f"{provider}-{number}"
    # engagement without a message, as SparkPost's in the corpus, is rejected later
    is_complete = event["message_id"] is not None or event["event_type"] == "unknown"
    table = (
        "core.fct_email_events" if is_complete else "(select distinct on (event_id) * from staging.int_loaded_events) as events"
    )
    with connect(settings, "mailmart_owner") as connection:
        rows = connection.execute(
            "select event_type, occurred_at, provider_message_id, recipient_domain, recipient_hash, diagnostic,"
            " app.mask_addresses(%s), url, smtp_status, app.recipient_hash(%s)"
            f" from {table} where workspace_id = %s order by occurred_at",
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
