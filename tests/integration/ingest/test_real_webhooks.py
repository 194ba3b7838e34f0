"""Every webhook of a corpus, loaded and built, compared with what an independent implementation reads in it."""

from __future__ import annotations

import json
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

PROVIDERS = ("sendgrid", "ses", "postmark", "mailgun")

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


@pytest.mark.parametrize(("provider", "number"), list(cases()))
def test_the_event_equals_the_independent_one(loaded: Settings, provider: str, number: int) -> None:
    expected = lines(provider)[number]["expected"]
    with connect(loaded, "mailmart_owner") as connection:
        rows = connection.execute(
            "select event_type, occurred_at, provider_message_id, recipient_domain, recipient_hash, diagnostic,"
            " app.mask_addresses(%s), url, smtp_status, app.recipient_hash(%s)"
            " from core.fct_email_events where workspace_id = %s order by occurred_at",
            (expected[0]["mta_response"], expected[0]["recipient"], f"{provider}-{number}"),
        ).fetchall()
    assert len(rows) == len(expected) == 1
    (
        (kind, occurred_at, message, domain, recipient, diagnostic, mta_response, url, status, recipient_expected),
        event,
    ) = (
        rows[0],
        expected[0],
    )
    assert kind == event["event_type"]
    assert message == event["message_id"]
    assert domain == event["recipient"].split("@")[1]
    assert recipient == recipient_expected
    assert url == event["click_url"]
    if provider != "ses":
        # the other implementation truncates times, and uses the envelope's time for SES
        assert abs((occurred_at - datetime.fromisoformat(event["timestamp"])).total_seconds()) < 0.001
    if kind == "bounced":
        assert diagnostic == mta_response
        assert status is not None
        assert status in event["mta_response"]
