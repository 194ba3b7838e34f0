"""Inputs of real life, each in a workspace of its own, in one build: what is counted, and what is reported."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from api.db.connection import connect
from api.settings import Settings
from tests.integration.ingest.envelope_cases import BAD_TIMES, GOOD_TIMES
from tests.integration.ingest.field_cases import ALL, workspace

COUNTS = {
    "sent": "is_sent",
    "delivered": "is_delivered",
    "bounced": "is_bounced",
    "hard": "is_hard_bounced",
    "opened": "is_opened",
    "clicked": "is_clicked",
    "unsubscribed": "is_unsubscribed",
}

Rows = dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def found(ingested: Settings) -> dict[str, dict[str, Any]]:
    """All that a case can expect, for each workspace, with one query of a relation for all of them."""
    counts = ", ".join(f"count(*) filter (where {column})" for column in COUNTS.values())
    messages = "core.fct_messages where valid_to = 9223372036854775807"
    with connect(ingested, "mailmart_owner") as connection:

        def rows(query: str) -> Rows:
            by_workspace = defaultdict(list)
            for workspace_id, *values in connection.execute(query.encode()):
                by_workspace[workspace_id].append(tuple(values))
            return by_workspace

        summed = rows(
            f"select workspace_id, max(bounce_reason), max(campaign_id), {counts} from {messages} group by workspace_id"
        )
        ids = rows(f"select workspace_id, provider_message_id from {messages}")
        events = rows("select workspace_id, event_type, occurred_at from core.fct_email_events")
        problems = rows("select workspace_id, problem, events from marts.data_quality")
        left_out = rows("select workspace_id, reason, events from marts.left_out")
    result = {}
    for name in map(workspace, ALL):
        [(reason, campaign, *numbers)] = summed[name] or [(None, None, *(0 for _ in COUNTS))]
        result[name] = dict(zip(COUNTS, numbers, strict=True)) | {
            "reason": reason,
            "campaign_id": campaign,
            "events": {kind for kind, _ in events[name]},
            "events_landed": len(events[name]),
            "times": sorted(time.astimezone().isoformat() for _, time in events[name]),
            "provider_message_ids": sorted(str(key) for (key,) in ids[name]),
            "problems": dict(problems[name]),
            "left_out": dict(left_out[name]),
        }
    return result


@pytest.mark.parametrize("name", ALL)
def test_a_case(found: dict[str, dict[str, Any]], name: str) -> None:
    expected = dict(ALL[name].expected)
    result = found[workspace(name)]
    if (problem := expected.pop("reported_as", None)) is not None:
        assert problem in result["problems"]
    assert set(expected.pop("events", ())) <= result["events"]
    assert {key: result[key] for key in expected} == expected


@pytest.mark.parametrize("date_style", ["iso, mdy", "sql, dmy", "postgres, ymd", "german"])
@pytest.mark.parametrize("time_zone", ["UTC", "Asia/Kolkata", "America/New_York"])
def test_a_session_decides_nothing_about_a_time(ingested: Settings, date_style: str, time_zone: str) -> None:
    with connect(ingested, "mailmart_owner") as connection:
        connection.execute("select set_config('datestyle', %s, true), set_config('timezone', %s, true)", (date_style, time_zone))
        parsed = connection.execute(
            "select to_char(app.parse_native_time(time) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
            " from unnest(%s::text[]) as time",
            ([*GOOD_TIMES, *BAD_TIMES],),
        ).fetchall()
    expected = [time.removesuffix("+00:00") for time in GOOD_TIMES.values()]
    assert [time.removesuffix(".000000") for (time,) in parsed[: len(expected)]] == expected
    assert {time for (time,) in parsed[len(expected) :]} == {None}
