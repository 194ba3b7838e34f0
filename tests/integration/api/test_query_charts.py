"""The chart of a query: the numbers of the query, in its order, and an error if it would be cut."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from api.analytics.query import chart
from api.auth.api_keys import create_key
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import LARGE, OTHER_WORKSPACE, Caller
from tests.integration.api.example import WORKSPACE

PATH = "analytics/query"


def post(caller: Caller, path: str, body: dict[str, Any], workspace: str = WORKSPACE, **headers: str) -> TestResponse:
    url = f"/api/v1/workspaces/{workspace}/{path}"
    return caller.client.post(url, json=body, headers={"Authorization": f"Bearer {caller.key}", **headers})


def drawn(caller: Caller, body: dict[str, Any], workspace: str = WORKSPACE) -> Any:
    response = post(caller, f"{PATH}/charts/metrics", body, workspace)
    assert response.status_code == 200, response.text
    return response.get_json()


def rows(caller: Caller, body: dict[str, Any], workspace: str = WORKSPACE) -> list[Any]:
    response = post(caller, PATH, body, workspace)
    assert response.status_code == 200, response.text
    found: list[Any] = response.get_json()["data"]["rows"]
    return found


@pytest.fixture(scope="module")
def large(two_tenants: Settings) -> Any:
    """A caller of a workspace with ten campaigns and sixty days of mail."""
    app = WsgiApp(two_tenants)
    yield Caller(Client(app), create_key(two_tenants, LARGE, name="charts"))
    app.close()


def test_a_bar_is_a_row_of_the_query(caller: Caller) -> None:
    body = {"metrics": ["open_rate", "sent"], "dimensions": ["campaign"], "time_range": "90d"}
    document = drawn(caller, body)
    assert document["mark"]["type"] == "bar"
    assert document["title"].startswith("Open rate by ")
    names = {
        row["campaign_id"]: row["campaign_name"] for row in caller.get(f"{WORKSPACE}/campaigns").get_json()["data"]["campaigns"]
    }
    expected = [(names[row["dimensions"]["campaign"]], row["metrics"]["open_rate"]["value"]) for row in rows(caller, body)]
    assert [(row["part"], row["value"]) for row in document["data"]["values"]] == expected
    assert document["encoding"]["x"]["title"] == "Open rate, per cent"
    # as the query orders them, and only so many
    two = drawn(caller, {**body, "order_by": [{"field": "campaign", "direction": "desc"}], "limit": 1})
    assert [row["part"] for row in two["data"]["values"]] == [
        names[max(row["dimensions"]["campaign"] for row in rows(caller, body))]
    ]
    assert two["encoding"]["y"]["title"].endswith(": the first 1")


def test_lines_are_the_first_parts_of_the_whole_time_range(large: Caller) -> None:
    body = {"metrics": ["delivered"], "dimensions": ["campaign"], "time_range": "30d", "granularity": "week"}
    document = drawn(large, body, LARGE)
    whole = rows(large, {**body, "limit": chart.MAX_LINES} | {"granularity": "week", "limit": 1000}, LARGE)
    without_time = {name: value for name, value in body.items() if name != "granularity"}
    first = [row["dimensions"]["campaign"] for row in rows(large, {**without_time, "limit": 7}, LARGE)]
    assert document["encoding"]["color"]["scale"]["domain"] == first
    assert document["encoding"]["color"]["title"].endswith(": the first 7")
    expected = {
        (row["dimensions"]["campaign"], row["time"]): row["metrics"]["delivered"]["value"]
        for row in whole
        if row["dimensions"]["campaign"] in first
    }
    assert {(row["part"], row["time"]): row["value"] for row in document["data"]["values"]} == expected


def test_pairs_of_two_dimensions_are_those_that_are_the_first(large: Caller) -> None:
    body = {"metrics": ["sent"], "dimensions": ["campaign", "mailbox"], "time_range": "30d", "granularity": "week"}
    document = drawn(large, body, LARGE)
    without_time = {name: value for name, value in body.items() if name != "granularity"}
    pairs = [", ".join(row["dimensions"].values()) for row in rows(large, {**without_time, "limit": 7}, LARGE)]
    assert document["encoding"]["color"]["scale"]["domain"] == pairs


def test_metrics_of_one_unit_are_lines_of_one_chart(caller: Caller) -> None:
    body = {
        "metrics": ["open_rate", "sent", "click_rate"],
        "time_range": "7d",
        "granularity": "day",
        "compare": "previous_period",
    }
    document = drawn(caller, body)
    assert document["encoding"]["color"]["scale"]["domain"] == ["Open rate", "Open rate, the period before", "Click rate"]
    found = rows(caller, body)
    values = document["data"]["values"]
    assert [row["value"] for row in values if row["part"] == "Click rate"] == [
        row["metrics"]["click_rate"]["value"] for row in found
    ]
    assert [row["value"] for row in values if row["part"].endswith("before")] == [
        row["metrics"]["open_rate"]["previous"] for row in found
    ]


def test_hours_are_those_of_the_querys_zone(caller: Caller) -> None:
    body: dict[str, Any] = {"metrics": ["sent"], "time_range": "7d", "granularity": "hour", "timezone": "Asia/Kathmandu"}
    document = drawn(caller, body)
    body["limit"] = 1000
    assert document["encoding"]["x"]["scale"] == {"type": "utc"}
    assert [row["time"][:19] for row in document["data"]["values"]] == [row["time"][:19] for row in rows(caller, body)]
    assert {row["time"][19:] for row in document["data"]["values"]} == {"Z"}


def test_a_chart_that_would_be_cut_is_refused(caller: Caller) -> None:
    body = {"metrics": ["sent"], "time_range": "90d", "granularity": "hour"}
    response = post(caller, f"{PATH}/charts/metrics", body)
    assert response.status_code == 422
    assert "more than 1,000 points" in response.get_json()["error"]["details"]["granularity"][0]


def test_errors_are_those_of_the_query(caller: Caller, other_caller: Caller) -> None:
    assert post(caller, f"{PATH}/charts/metrics", {"metrics": ["sentt"]}).status_code == 422
    assert post(caller, f"{PATH}/charts/metrics", {"metrics": ["sent"], "cursor": "x"}).status_code == 422
    assert post(caller, f"{PATH}/charts/metrics", {"metrics": ["sent"], "limit": 1000}).status_code == 422
    assert post(caller, f"{PATH}/charts/lines", {"metrics": ["sent"]}).get_json()["error"]["code"] == "CHART_NOT_FOUND"
    assert post(other_caller, f"{PATH}/charts/metrics", {"metrics": ["sent"]}).status_code == 403
    theirs = drawn(other_caller, {"metrics": ["sent"], "time_range": "30d"}, OTHER_WORKSPACE)
    assert [row["value"] for row in theirs["data"]["values"]] == [10]


def test_a_query_without_rows_is_a_chart_without_values(caller: Caller) -> None:
    old = {"time_range": "custom", "start_date": "2020-01-01", "end_date": "2020-01-31"}
    for body in ({"dimensions": ["campaign"]}, {"dimensions": ["campaign"], "granularity": "day"}):
        assert drawn(caller, {"metrics": ["open_rate"], **old, **body})["data"]["values"] == []


def test_it_is_a_picture_by_accept(caller: Caller) -> None:
    body = {"metrics": ["sent"], "dimensions": ["campaign"], "time_range": "90d", "granularity": "week"}
    svg = post(caller, f"{PATH}/charts/metrics", body, Accept="image/svg+xml")
    assert svg.content_type == "image/svg+xml"
    assert "cmp_of_mail_alone" in svg.text
    bars = post(caller, f"{PATH}/charts/metrics", {"metrics": ["sent"], "theme": "dark", "format": "png"})
    assert bars.data.startswith(b"\x89PNG")
