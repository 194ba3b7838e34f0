"""Ids with any character in the paths of the real server, with and without the fast path, and below a proxy's path."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import quote

import pytest

from api.settings import Settings
from tests.integration.api.conftest import OTHER_WORKSPACE, SLASH_CAMPAIGN, Caller
from tests.integration.api.example import WORKSPACE
from tests.integration.api.serving import serving

# campaigns that are in no table: the 404 names the id that reached the database
IDS = ("a/b", "a%2Fb", "a;b", "a?b", "a#b", "a b", "ä/ö", "..", "100%", "a%252Fb")


def get(address: str, path: str, key: str, **headers: str) -> tuple[int, Any, dict[str, str]]:
    """The path as it is: urllib would resolve dots."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}", **headers})
    response = connection.getresponse()
    return response.status, response.read(), dict(response.getheaders())


def test_an_encoded_id_reaches_the_database(running: str, key: str) -> None:
    for campaign in IDS:
        path = f"/api/v1/workspaces/{WORKSPACE}/campaigns/{quote(campaign, safe='')}/analytics"
        status, body, _ = get(running, path, key)
        assert status == 404
        assert json.loads(body)["error"] == {
            "code": "CAMPAIGN_NOT_FOUND",
            "message": f"Campaign with ID {campaign} not found in workspace {WORKSPACE}",
        }


def test_a_campaign_with_a_slash_has_an_endpoint(other_caller: Caller) -> None:
    path = f"{OTHER_WORKSPACE}/campaigns/{quote(SLASH_CAMPAIGN, safe='')}/analytics"
    # the second request takes the fast path
    for _ in range(2):
        response = other_caller.get(path)
        assert response.status_code == 200
        assert response.get_json()["data"]["campaign_id"] == SLASH_CAMPAIGN
    separated = other_caller.get(f"{OTHER_WORKSPACE}/campaigns/{quote(SLASH_CAMPAIGN)}/analytics")
    assert separated.get_json()["error"]["code"] == "NOT_FOUND"


@pytest.fixture(scope="module")
def below_a_path(warehouse_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Any:
    log = tmp_path_factory.mktemp("serve_below") / "log"
    with serving(warehouse_settings, log, MAILMART_PUBLIC_URL="https://x.example/mail") as service:
        yield service.address


def test_every_address_has_the_path_of_the_public_url(below_a_path: str, key: str) -> None:
    for prefix in ("", "/mail"):
        status, body, _ = get(below_a_path, f"{prefix}/openapi.json", key)
        assert (status, json.loads(body)["servers"][0]["url"]) == (200, "/mail")
        status, body, _ = get(below_a_path, f"{prefix}/docs", key)
        assert status == 200
        assert b'="/' not in body
        assert get(below_a_path, f"{prefix}/docs/start.js", key)[0] == 200
        assert b'"/openapi.json"' not in get(below_a_path, f"{prefix}/docs/start.js", key)[1]
        status, _, _ = get(below_a_path, f"{prefix}/api/v1/workspaces/{WORKSPACE}/analytics/overview", key)
        assert status == 200
    connection = http.client.HTTPConnection(below_a_path.removeprefix("http://"), timeout=30)
    connection.request(
        "POST",
        f"/api/v1/workspaces/{WORKSPACE}/analytics/export",
        json.dumps({"export_type": "workspace_overview", "format": "csv"}),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    response = connection.getresponse()
    assert response.status == 202
    export_id = json.loads(response.read())["data"]["export_id"]
    assert response.headers["Location"] == f"/mail/api/v1/workspaces/{WORKSPACE}/analytics/exports/{export_id}"
