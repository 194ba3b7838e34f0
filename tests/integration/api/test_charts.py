"""Charts over HTTP: the endpoint's rows, its parameters, its rights, its ETags, and errors that name what there is."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import orjson
import pytest

from api.contract.publication import PublicationCache
from api.db.pool import ConnectionPool
from api.settings import Settings
from tests.integration.api.conftest import Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE

ANALYTICS = f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"
COMPARE = {"campaign_ids": [CAMPAIGN, "cmp_of_mail_alone"]}


def test_a_chart_has_the_rows_of_its_endpoint(caller: Caller) -> None:
    series = caller.get(ANALYTICS, timeRange="7d").get_json()["data"]["time_series"]
    document = caller.get(f"{ANALYTICS}/charts/engagement", timeRange="7d").get_json()
    values = document["data"]["values"]
    for label in ("Opened", "Clicked", "Replied"):
        points = [(row["date"], row["value"]) for row in values if row["series"] == label]
        assert points == [(row["date"], row[label.lower()]) for row in series]
    funnel = caller.get(f"{ANALYTICS}/charts/funnel").get_json()["data"]["values"]
    assert [(row["series"], row["value"]) for row in funnel][:2] == [("Sent", 5000), ("Delivered", 4900)]


def test_a_chart_sets_parameters_of_its_endpoint(caller: Caller) -> None:
    path = f"{WORKSPACE}/analytics/engagement-heatmap/charts"
    assert len(caller.get(f"{path}/by_hour").get_json()["data"]["values"]) == 168
    assert len(caller.get(f"{path}/by_period", granularity="hour").get_json()["data"]["values"]) == 28


def test_the_chart_of_a_post_takes_the_same_body(caller: Caller) -> None:
    headers = {"Authorization": f"Bearer {caller.key}"}
    url = f"/api/v1/workspaces/{WORKSPACE}/analytics/compare/charts/intervals"
    response = caller.client.post(url, json=COMPARE, headers=headers)
    assert response.status_code == 200
    assert {row["campaign_id"] for row in response.get_json()["data"]["values"]} == set(COMPARE["campaign_ids"])
    missing = caller.client.post(url, json={"campaign_ids": [CAMPAIGN, "cmp_none"]}, headers=headers)
    assert (missing.status_code, missing.get_json()["error"]["code"]) == (404, "CAMPAIGN_NOT_FOUND")


def test_rights_parameters_and_errors_are_those_of_the_endpoint(caller: Caller, other_caller: Caller) -> None:
    path = f"{ANALYTICS}/charts/engagement"
    assert caller.client.get(f"/api/v1/workspaces/{path}").status_code == 401
    assert other_caller.get(path).status_code == 403
    assert caller.get(path, timeRange="8d").status_code == 422
    assert (
        caller.get(f"{WORKSPACE}/campaigns/none/analytics/charts/engagement").get_json()["error"]["code"] == "CAMPAIGN_NOT_FOUND"
    )
    error = caller.get(f"{ANALYTICS}/charts/engagment").get_json()["error"]
    assert error["code"] == "CHART_NOT_FOUND"
    assert error["details"] == {"chart": ["Did you mean engagement? Known: engagement, funnel."]}


def test_a_chart_is_cached_under_an_etag_of_its_own(caller: Caller) -> None:
    responses = [caller.get(f"{ANALYTICS}/charts/{chart}", timeRange="90d") for chart in ("engagement", "funnel", "engagement")]
    etags = [response.headers["ETag"] for response in responses]
    assert etags[0] == etags[2] != etags[1]
    assert responses[0].data == responses[2].data
    headers = {"Authorization": f"Bearer {caller.key}", "If-None-Match": etags[0]}
    url = f"/api/v1/workspaces/{ANALYTICS}/charts/engagement?timeRange=90d"
    assert caller.client.get(url, headers=headers).status_code == 304
    assert responses[0].headers["RateLimit-Limit"] == str(2 * int(caller.get(ANALYTICS).headers["RateLimit-Limit"]))


def test_charts_are_not_in_the_document(caller: Caller) -> None:
    paths: dict[str, Any] = caller.client.get("/openapi.json").get_json()["paths"]
    assert not [path for path in paths if "/charts/" in path]


DRAW = """
import sys, json, vl_convert
for line in sys.stdin:
    name, document = json.loads(line)
    document["width"] = 400 if document.get("width") == "container" else document.get("width", 100)
    print(name, len(vl_convert.vegalite_to_svg(document)), flush=True)
"""


@pytest.mark.slow
def test_every_chart_of_the_project_can_be_drawn(caller: Caller, warehouse_settings: Settings) -> None:
    pool = ConnectionPool(warehouse_settings)
    pool.open()
    try:
        contract = PublicationCache(pool, "production").require().contract
    finally:
        pool.close()
    documents = []
    for endpoint in contract.endpoints:
        for chart in contract.charts.get(endpoint.name, ()):
            path = endpoint.path.replace("{campaignId}", CAMPAIGN)
            response = caller.client.open(
                f"/api/v1/workspaces/{WORKSPACE}{path}/charts/{chart.name}",
                method=endpoint.method,
                json=COMPARE if endpoint.method == "post" else None,
                headers={"Authorization": f"Bearer {caller.key}"},
            )
            assert response.status_code == 200, (endpoint.name, chart.name, response.data)
            documents.append((f"{endpoint.name}.{chart.name}", response.get_json()))
    assert len(documents) >= 9
    drawn = subprocess.run(
        [sys.executable, "-c", DRAW],
        input=b"\n".join(orjson.dumps(pair) for pair in documents),
        capture_output=True,
        check=False,
    )
    assert drawn.returncode == 0, drawn.stderr.decode()
    # a warning is on standard error: of a field that is not there, of a mark without a position
    assert drawn.stderr == b""
    assert len(drawn.stdout.splitlines()) == len(documents)
