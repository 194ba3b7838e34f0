"""GET /analytics/sources: what a workspace received, as it is now, beside what the published batch counts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from api.db.connection import connect
from api.intake.sources import create_source, revoke_source
from api.settings import Settings
from tests.integration.api.conftest import OTHER_WORKSPACE, Caller
from tests.integration.api.example import WORKSPACE

PATH = f"{WORKSPACE}/analytics/sources"
COUNT = "select app.count_webhook_bodies(%s, %s, %s, %s, %s, %s)"
ARN = "arn:aws:sns:eu-west-1:123456789012:topic"


def count(settings: Settings, source: str, bodies: int, rejected: int, failures: int) -> None:
    """What the intake writes every few seconds."""
    with connect(settings, "mailmart_intake") as connection:
        connection.execute(
            COUNT, ([source], [bodies], [rejected], [failures], ["the signature is wrong"], ["not UTF-8 at byte 7"])
        )


def create(settings: Settings, workspace: str, provider: str, **options: Any) -> str:
    """The id of a new source."""
    return create_source(settings, workspace, provider, is_new_workspace=True, **options).partition("_")[0]


@pytest.fixture
def source(warehouse_settings: Settings) -> Iterator[str]:
    """A signed source of SES, which the example's warehouse has for the time of a test."""
    made = create(warehouse_settings, WORKSPACE, "ses", name="Main account", signing_keys=[ARN])
    theirs = create(warehouse_settings, OTHER_WORKSPACE, "postmark")
    yield made
    with connect(warehouse_settings, "mailmart_owner") as connection:
        connection.execute("delete from app.webhook_sources where source_id = any(%s)", ([made, theirs],))


def test_a_source_is_shown_while_its_bodies_arrive(caller: Caller, warehouse_settings: Settings, source: str) -> None:
    first = caller.get(PATH).get_json()["data"]["sources"]
    # the example's mail came into the native log
    assert [(row["provider"], row["source_id"], row["status"]) for row in first] == [
        ("native", None, "no_source"),
        ("ses", source, "active"),
    ]
    assert first[0] == dict.fromkeys(first[0]) | {"provider": "native", "status": "no_source"}
    assert (first[1]["name"], first[1]["is_signed"], first[1]["bodies"], first[1]["last_body_at"]) == (
        "Main account",
        True,
        0,
        None,
    )
    assert first[1]["advice"].startswith("Nothing has arrived")

    count(warehouse_settings, source, 5, 0, 0)
    count(warehouse_settings, source, 0, 2, 3)
    response = caller.get(PATH)
    second = response.get_json()["data"]["sources"][1]
    assert (second["bodies"], second["bodies_rejected"], second["signature_failures"]) == (5, 2, 3)
    assert (second["last_rejection"], second["last_signature_failure"]) == ("not UTF-8 at byte 7", "the signature is wrong")
    assert second["last_body_at"] <= second["last_rejected_at"] == second["last_signature_failure_at"]
    count(warehouse_settings, source, 0, 0, 1)
    assert caller.get(PATH).get_json()["data"]["sources"][1]["advice"].startswith("Bodies have arrived")
    count(warehouse_settings, source, 1, 0, 0)
    assert caller.get(PATH).get_json()["data"]["sources"][1]["advice"] is None


def test_nothing_is_cached(caller: Caller, warehouse_settings: Settings, source: str) -> None:
    seen = []
    for _ in range(3):
        # the second and third come over the fast path
        count(warehouse_settings, source, 1, 0, 0)
        response = caller.client.get(
            f"/api/v1/workspaces/{PATH}", headers={"Authorization": f"Bearer {caller.key}", "If-None-Match": "*"}
        )
        assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
        assert "ETag" not in response.headers
        seen.append(response.get_json()["data"]["sources"][1]["bodies"])
    assert seen == [1, 2, 3]


def test_bodies_are_those_of_the_window(caller: Caller, warehouse_settings: Settings, source: str) -> None:
    count(warehouse_settings, source, 7, 0, 0)
    with connect(warehouse_settings, "mailmart_owner") as connection:
        connection.execute(
            "insert into app.webhook_source_days select source_id, day - 20, workspace_id, 100, 1, 1"
            " from app.webhook_source_days where source_id = %s",
            (source,),
        )
    assert caller.get(PATH, timeRange="7d").get_json()["data"]["sources"][1]["bodies"] == 7
    assert caller.get(PATH).get_json()["data"]["sources"][1]["bodies"] == 107
    old = {"timeRange": "custom", "startDate": "2020-01-01", "endDate": "2020-01-31"}
    data = caller.get(PATH, **old).get_json()["data"]
    assert data["sources"][1]["bodies"] == 0
    assert data["sources"][1]["last_body_at"][:10] == datetime.now(UTC).date().isoformat()
    # the last event of a type is named, whether or not it is in the window
    assert {row["events"] for row in data["events"]} == {0}
    assert min(row["last_occurred_at"] for row in data["events"]) > "2024"


def test_events_are_those_of_the_published_batch(caller: Caller, warehouse_settings: Settings) -> None:
    data = caller.get(PATH).get_json()["data"]
    assert list(data) == ["time_range", "sources", "events", "rejected"]
    with connect(warehouse_settings, "mailmart_owner") as connection:
        expected = connection.execute(
            "select provider, event_type, count(*) from core.fct_email_events"
            " where workspace_id = %s and valid_to > 1000000 and occurred_at > now() - interval '30 days'"
            " group by 1, 2 order by 1, 2",
            (WORKSPACE,),
        ).fetchall()
    assert [(row["provider"], row["event_type"], row["events"]) for row in data["events"]] == expected
    assert data["rejected"] == []


def test_other_tenants_sources_are_not_shown(caller: Caller, other_caller: Caller, source: str) -> None:
    assert source in caller.get(PATH).get_data(as_text=True)
    theirs = other_caller.get(f"{OTHER_WORKSPACE}/analytics/sources").get_json()["data"]["sources"]
    assert [row["provider"] for row in theirs] == ["native", "postmark"]
    assert theirs[1]["is_signed"] is False
    assert other_caller.get(PATH).status_code == 403


def test_a_revoked_source_stays(caller: Caller, warehouse_settings: Settings, source: str) -> None:
    revoke_source(warehouse_settings, source)
    row = caller.get(PATH).get_json()["data"]["sources"][1]
    assert (row["status"], row["is_signed"], row["advice"]) == ("revoked", True, None)
    assert row["revoked_at"] is not None


def test_no_raw_row_is_read(warehouse_settings: Settings) -> None:
    read = {
        "mail_sources": {"webhook_sources", "webhook_source_days", "fct_event_days"},
        "received_events": {"fct_event_days"},
        "received_rejections": {"fct_rejected_events"},
    }
    with connect(warehouse_settings, "mailmart_api") as connection:
        connection.execute("select set_config('mailmart.workspace_id', %s, true)", (WORKSPACE,))
        for mart, tables in read.items():
            row = connection.execute(f"explain (format json) select * from marts.{mart}".encode()).fetchone()
            assert row is not None
            assert set(relations(row[0])) == tables


def relations(plan: Any) -> Iterator[str]:
    """The tables that a plan reads."""
    if isinstance(plan, list):
        for part in plan:
            yield from relations(part)
    elif isinstance(plan, dict):
        if "Relation Name" in plan:
            yield plan["Relation Name"]
        yield from relations(list(plan.values()))
