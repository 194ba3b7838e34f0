"""The specification's endpoint, on the specification's example."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.api.conftest import Caller
from tests.integration.api.example import CAMPAIGN, DAYS_AGO, RATES, SUMMARY, WORKSPACE

TODAY = datetime.now(UTC).date()
PATH = f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"


def data(caller: Caller, **query: Any) -> dict[str, Any]:
    response = caller.get(PATH, **query)
    assert response.status_code == 200, response.text
    body = response.get_json()
    assert body["success"] is True
    assert datetime.fromisoformat(body["meta"]["data_as_of"]) < datetime.now(UTC)
    content: dict[str, Any] = body["data"]
    return content


def test_summary_and_rates_equal_the_example(caller: Caller) -> None:
    content = data(caller)
    assert content["campaign_id"] == CAMPAIGN
    assert content["campaign_name"] == "Q4 Outreach Campaign"
    assert content["summary"] == SUMMARY
    assert content["rates"] == RATES
    assert list(content["summary"]) == list(SUMMARY)
    assert list(content["rates"]) == list(RATES)
    assert content["engagement_by_human"] == {
        "emails_opened": 1100,
        "emails_clicked": 245,
        "open_rate": 22.45,
        "click_rate": 5.0,
        # 370 of 1,470 opens and of 245 clicks say that a machine made them
        "coverage": 21.57,
    }
    assert list(content) == [
        "campaign_id",
        "campaign_name",
        "time_range",
        "summary",
        "rates",
        "engagement_by_human",
        "time_series",
    ]


@pytest.mark.parametrize(("period", "days"), [("7d", 7), ("30d", 30), ("90d", 90)])
def test_window_ends_today_and_has_a_point_for_each_day(caller: Caller, period: str, days: int) -> None:
    content = data(caller, timeRange=period)
    start = TODAY - timedelta(days=days)
    assert content["time_range"] == {"start": f"{start}T00:00:00Z", "end": f"{TODAY}T23:59:59Z", "period": period}
    assert [point["date"] for point in content["time_series"]] == [str(start + timedelta(days=n)) for n in range(days + 1)]
    sent = {point["date"]: point["sent"] for point in content["time_series"] if point["sent"]}
    assert sent == ({str(TODAY - timedelta(days=DAYS_AGO)): 5000} if days >= DAYS_AGO else {})


def test_custom_window_includes_both_ends(caller: Caller) -> None:
    day = TODAY - timedelta(days=DAYS_AGO)
    assert data(caller, timeRange="custom", startDate=day, endDate=day)["summary"] == SUMMARY
    before = day - timedelta(days=1)
    nothing = data(caller, timeRange="custom", startDate=before, endDate=before)
    assert set(nothing["summary"].values()) == {0}
    assert set(nothing["rates"].values()) == {0.0}
    # a date-time is converted to its UTC date: 23:30 at -01:00 is the next day
    content = data(caller, timeRange="custom", startDate=f"{before}T23:30:00-01:00", endDate=f"{day}T00:00:00Z")
    assert content["time_range"]["start"] == f"{day}T00:00:00Z"
    assert content["summary"] == SUMMARY


@pytest.mark.parametrize("group_by", ["day", "week", "month"])
def test_buckets_add_up_and_are_named_by_their_first_day(caller: Caller, group_by: str) -> None:
    points = data(caller, timeRange="90d", groupBy=group_by)["time_series"]
    assert {name: sum(point[name] for point in points) for name in ("sent", "delivered", "bounced", "opened", "clicked")} == {
        "sent": 5000,
        "delivered": 4900,
        "bounced": 100,
        "opened": 1470,
        "clicked": 245,
    }
    dates = [datetime.fromisoformat(point["date"]).date() for point in points]
    assert dates[0] == TODAY - timedelta(days=90)
    if group_by == "week":
        assert all(date.weekday() == 0 for date in dates[1:])
    if group_by == "month":
        assert all(date.day == 1 for date in dates[1:])


def test_campaign_without_mail_and_campaign_without_a_row(caller: Caller) -> None:
    idle = caller.get(f"{WORKSPACE}/campaigns/cmp_idle/analytics").get_json()["data"]
    assert idle["summary"]["emails_sent"] == 0
    assert idle["campaign_name"] == "Idle"
    without_row = caller.get(f"{WORKSPACE}/campaigns/cmp_of_mail_alone/analytics").get_json()["data"]
    assert without_row["summary"]["emails_sent"] == 1
    assert without_row["campaign_name"] == "cmp_of_mail_alone"


BOTH = {"startDate", "endDate"}
INVALID: list[tuple[dict[str, Any], int, str, set[str]]] = [
    ({"timeRange": "31d"}, 422, "VALIDATION_ERROR", {"timeRange"}),
    ({"timeRange": ""}, 422, "VALIDATION_ERROR", {"timeRange"}),
    ({"groupBy": "hour"}, 422, "VALIDATION_ERROR", {"groupBy"}),
    ({"group_by": "day"}, 422, "VALIDATION_ERROR", {"group_by"}),
    ({"groupBy": ["day", "day"]}, 422, "VALIDATION_ERROR", {"groupBy"}),
    ({"timeRange": "custom"}, 422, "VALIDATION_ERROR", {"startDate", "endDate"}),
    ({"timeRange": "custom", "endDate": "2025-11-01"}, 422, "VALIDATION_ERROR", {"startDate"}),
    ({"startDate": "2025-11-01", "endDate": "2025-11-02"}, 422, "VALIDATION_ERROR", {"startDate", "endDate"}),
    ({"timeRange": "7d", "endDate": "2025-11-02"}, 422, "VALIDATION_ERROR", {"endDate"}),
    (
        {"timeRange": "custom", "startDate": "1.11.2025", "endDate": "2025-11-31"},
        422,
        "VALIDATION_ERROR",
        {"startDate", "endDate"},
    ),
    (
        {"timeRange": "custom", "startDate": "20251101", "endDate": "2025-W44"},
        422,
        "VALIDATION_ERROR",
        {"startDate", "endDate"},
    ),
    (
        {"timeRange": "custom", "startDate": "2025-11-01T25:00:00Z", "endDate": "2025-11-02"},
        422,
        "VALIDATION_ERROR",
        {"startDate"},
    ),
    (
        {"timeRange": "custom", "startDate": "0001-01-01T00:00:00+10:00", "endDate": "2025-11-02"},
        422,
        "VALIDATION_ERROR",
        {"startDate"},
    ),
    ({"timeRange": "custom", "startDate": "2025-11-02", "endDate": "2025-11-01"}, 400, "INVALID_TIME_RANGE", BOTH),
    ({"timeRange": "custom", "startDate": "2023-01-01", "endDate": "2025-01-01"}, 400, "INVALID_TIME_RANGE", BOTH),
]


@pytest.mark.parametrize(
    ("query", "status", "code", "parameters"), INVALID, ids=[str(sorted(case[0].items()))[:70] for case in INVALID]
)
def test_errors_name_the_parameters(caller: Caller, query: dict[str, Any], status: int, code: str, parameters: set[str]) -> None:
    response = caller.get(PATH, **query)
    assert response.status_code == status
    error = response.get_json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert set(error.get("details", {})) == parameters


def test_the_message_of_a_window_is_the_specifications(caller: Caller) -> None:
    error = caller.get(PATH, timeRange="custom", startDate="2025-11-02", endDate="2025-11-01").get_json()["error"]
    assert (error["code"], error["message"]) == ("INVALID_TIME_RANGE", "Start date must be before end date")


def test_longest_window_has_731_days(caller: Caller) -> None:
    content = data(caller, timeRange="custom", startDate="2023-01-01", endDate="2024-12-31")
    assert len(content["time_series"]) == 731


@pytest.mark.parametrize(
    "campaign", ["nope", "cmp_theirs", "%00", "'; drop table x; --", "a" * 5000, "é", "%F0%9F%92%8C", "''", "\\"]
)
def test_unknown_campaign_is_404(caller: Caller, campaign: str) -> None:
    response = caller.get(f"{WORKSPACE}/campaigns/{campaign}/analytics")
    assert response.status_code == 404
    assert response.get_json()["error"]["code"] == "CAMPAIGN_NOT_FOUND"


def test_not_found_message_matches_the_specification(caller: Caller) -> None:
    error = caller.get(f"{WORKSPACE}/campaigns/cmp_nope/analytics").get_json()
    assert error == {
        "success": False,
        "error": {
            "code": "CAMPAIGN_NOT_FOUND",
            "message": f"Campaign with ID cmp_nope not found in workspace {WORKSPACE}",
        },
    }
