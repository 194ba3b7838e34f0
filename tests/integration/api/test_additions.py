"""Additions that a request asks for: the previous period, local days, and custom windows; nothing else changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.api.conftest import Caller
from tests.integration.api.example import CAMPAIGN, DAYS_AGO, RATES, SUMMARY, WORKSPACE

ENDPOINTS = {
    f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics": ["summary", "rates", "engagement_by_human"],
    f"{WORKSPACE}/analytics/overview": ["summary", "rates", "engagement_by_human"],
    f"{WORKSPACE}/analytics/deliverability": ["overall", "bounce_analysis"],
}


def day(days_ago: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=days_ago)).isoformat()


def window(first: int, last: int) -> dict[str, str]:
    """A custom window from so many days ago to so many days ago."""
    return {"timeRange": "custom", "startDate": day(first), "endDate": day(last)}


def numbers(data: dict[str, Any], group: str) -> set[str]:
    return {name for name, value in data[group].items() if isinstance(value, int | float) or value is None}


@pytest.mark.parametrize(("path", "groups"), ENDPOINTS.items(), ids=["campaign", "overview", "deliverability"])
def test_only_a_request_for_it_has_the_additions(caller: Caller, path: str, groups: list[str]) -> None:
    plain = caller.get(path).get_json()["data"]
    compared = caller.get(path, compare_to="previous_period").get_json()["data"]
    assert "previous_period" not in plain
    assert list(compared) == [*plain, "previous_period", "change"]
    assert {name: compared[name] for name in plain} == plain
    assert list(compared["previous_period"]) == ["start_date", "end_date", *groups]
    assert list(compared["change"]) == groups
    # of each number of the response, but for the two that are of no window
    for group in groups:
        of_window = numbers(plain, group) - {"total_campaigns", "active_campaigns"}
        assert numbers(compared["previous_period"], group) == of_window
        assert numbers(compared["change"], group) == of_window
    # 30d is 31 dates
    assert (compared["previous_period"]["start_date"], compared["previous_period"]["end_date"]) == (day(61), day(31))


def test_numbers_before_and_after(caller: Caller) -> None:
    path = f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"
    after = window(DAYS_AGO - 1, DAYS_AGO - 3)
    data = caller.get(path, compare_to="previous_period", **after).get_json()["data"]
    # all of the example was sent on the day before the window, which has nothing
    assert {name: data["previous_period"]["summary"][name] for name in SUMMARY} == SUMMARY
    assert data["previous_period"]["rates"] == RATES
    assert (data["previous_period"]["start_date"], data["previous_period"]["end_date"]) == (day(DAYS_AGO + 2), day(DAYS_AGO))
    assert set(data["change"]["summary"].values()) == {-100.0}
    assert data["change"]["rates"] == {name: -value for name, value in RATES.items()}
    assert data["change"]["engagement_by_human"]["coverage"] is None
    # in the window, and nothing before it
    rise = caller.get(path, compare_to="previous_period", **window(DAYS_AGO, DAYS_AGO)).get_json()["data"]
    assert rise["summary"] == SUMMARY
    assert set(rise["change"]["summary"].values()) == {None}
    assert rise["change"]["rates"] == RATES


def test_deliverability_before_and_after(caller: Caller) -> None:
    path = f"{WORKSPACE}/analytics/deliverability"
    query = {**window(DAYS_AGO - 1, DAYS_AGO - 1), "campaignId": CAMPAIGN}
    data = caller.get(path, compare_to="previous_period", **query).get_json()["data"]
    # the campaign sent nothing in the window, so it has chosen no mailbox; on the day before it has
    assert data["overall"]["health_score"] is None
    before = caller.get(path, **{**query, **window(DAYS_AGO, DAYS_AGO)}).get_json()["data"]
    assert data["previous_period"]["overall"] == before["overall"]
    assert data["change"]["overall"]["health_score"] is None
    assert data["change"]["overall"]["bounce_rate"] == -2.0


def test_errors_and_etags(caller: Caller) -> None:
    path = f"{WORKSPACE}/analytics/overview"
    for query, name in (({"compare_to": "last_year"}, "compare_to"), ({"compareTo": "previous_period"}, "compareTo")):
        response = caller.get(path, **query)
        assert (response.status_code, list(response.get_json()["error"]["details"])) == (422, [name])
    assert "Did you mean compare_to?" in caller.get(path, compareTo="previous_period").text
    assert caller.get(path).headers["ETag"] != caller.get(path, compare_to="previous_period").headers["ETag"]
    missing = caller.get(f"{WORKSPACE}/campaigns/nowhere/analytics", compare_to="previous_period")
    assert (missing.status_code, missing.get_json()["error"]["code"]) == (404, "CAMPAIGN_NOT_FOUND")
    # the first dates that exist
    old = caller.get(path, compare_to="previous_period", timeRange="custom", startDate="0001-01-01", endDate="0001-01-02")
    assert old.status_code == 200
    assert old.get_json()["data"]["previous_period"]["summary"]["emails_sent"] == 0


def test_custom_windows_of_deliverability_and_heatmap(caller: Caller) -> None:
    deliverability = f"{WORKSPACE}/analytics/deliverability"
    heatmap = f"{WORKSPACE}/analytics/engagement-heatmap"
    same = window(30, 0)
    for path in (deliverability, heatmap):
        fixed, custom = (caller.get(path, **query).get_json()["data"] for query in ({"timeRange": "30d"}, same))
        assert custom["time_range"]["period"] == "custom"
        assert {**custom, "time_range": None} == {**fixed, "time_range": None}
    one_day = caller.get(deliverability, **window(DAYS_AGO, DAYS_AGO)).get_json()["data"]
    assert [point["date"] for point in one_day["reputation_trend"]] == [day(DAYS_AGO)]
    assert one_day["bounce_analysis"]["hard_bounces"] + one_day["bounce_analysis"]["soft_bounces"] == 100
    cells = caller.get(heatmap, **window(DAYS_AGO - 1, DAYS_AGO - 2)).get_json()["data"]["heatmap"]
    assert {cell["emails_sent"] for cell in cells} == {0, 1} or {cell["emails_sent"] for cell in cells} == {0}
    for path in (deliverability, heatmap):
        assert caller.get(path, timeRange="custom", startDate="2020-01-01", endDate="2021-12-31").status_code == 200
        too_long = caller.get(path, timeRange="custom", startDate="2020-01-01", endDate="2022-01-02")
        assert (too_long.status_code, too_long.get_json()["error"]["code"]) == (400, "INVALID_TIME_RANGE")
        assert caller.get(path, startDate="2020-01-01").status_code == 422


def test_local_days_are_an_addition(caller: Caller) -> None:
    path = f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"
    plain = caller.get(path).get_json()["data"]
    assert "local_time_series" not in plain
    # sent from 9:00 to 10:23 in UTC: the same day, and the next one, on which nothing else was sent
    for zone, moved in (
        ("UTC", 0),
        ("Europe/Berlin", 0),
        ("Pacific/Kiritimati", 0),
        ("Pacific/Auckland", 0),
        ("Pacific/Pago_Pago", 1),
    ):
        data = caller.get(path, timezone=zone).get_json()["data"]
        assert {name: data[name] for name in plain} == plain
        series = {point["date"]: point for point in data["local_time_series"]}
        assert sum(point["sent"] for point in series.values()) == SUMMARY["emails_sent"]
        # a window of 31 days in UTC touches 32 local ones
        assert len(series) == (31 if zone == "UTC" else 32)
        if zone == "UTC":
            assert data["local_time_series"] == plain["time_series"]
        elif zone == "Pacific/Pago_Pago":
            # UTC-11: 9:00 is 22:00 of the day before
            assert series[day(DAYS_AGO + moved)]["sent"] == SUMMARY["emails_sent"]
        elif zone == "Pacific/Kiritimati":
            # UTC+14: 9:00 is 23:00 and 10:00 is 0:00 of the next day
            assert series[day(DAYS_AGO)]["sent"] + series[day(DAYS_AGO - 1)]["sent"] == SUMMARY["emails_sent"]
            assert series[day(DAYS_AGO)]["sent"] == 3600
    assert caller.get(path, timezone="Mars/Base").status_code == 422


def test_local_days_of_the_workspace_and_its_health(caller: Caller) -> None:
    for path, name in (("series", "time_series"), ("deliverability", "reputation_trend")):
        plain = caller.get(f"{WORKSPACE}/analytics/{path}").get_json()["data"]
        assert f"local_{name}" not in plain
        for zone in ("UTC", "Pacific/Pago_Pago"):
            data = caller.get(f"{WORKSPACE}/analytics/{path}", timezone=zone).get_json()["data"]
            assert {key: data[key] for key in plain} == plain
            local = {point["date"]: point for point in data[f"local_{name}"]}
            if zone == "UTC":
                assert data[f"local_{name}"] == plain[name]
            else:
                # what was sent at 9:00 in UTC was sent on the day before
                (first, *_) = (point["date"] for point in plain[name] if point.get("sent", 1))
                assert min(date for date, point in local.items() if point.get("sent", 1)) < first
        assert caller.get(f"{WORKSPACE}/analytics/{path}", timezone="Mars/Base").status_code == 422
