"""Requesting exports: responses, validation, and retries of the same request."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.db.pool import ConnectionPool
from api.exports.repository import ExportRepository
from api.server.app import WsgiApp
from tests.integration.exports.conftest import OTHER_WORKSPACE, WORKSPACE, Exporter
from tests.integration.exports.test_attempts import row

T = TypeVar("T")
EXAMPLE = {
    "export_type": "campaign_performance",
    "format": "csv",
    "time_range": "30d",
    "campaign_ids": ["cmp_plain"],
    "include_time_series": True,
}


def test_the_example_of_the_specification(exporter: Exporter) -> None:
    response = exporter.call("POST", "export", json=EXAMPLE)
    assert response.status_code == 202
    body = response.get_json()
    data = body["data"]
    assert body["success"] is True
    assert data["export_id"].startswith("exp_")
    assert data["status"] == "processing"
    assert data["download_url"] is None
    assert "estimated_completion" in data
    assert response.headers["Location"] == f"/api/v1/workspaces/{WORKSPACE}/analytics/exports/{data['export_id']}"
    assert exporter.client.get(response.headers["Location"], headers={"Authorization": f"Bearer {exporter.key}"}).get_json()[
        "data"
    ] == exporter.status(data["export_id"])


def test_ten_requests_per_minute_are_allowed(exporter_of: Callable[[str], Exporter]) -> None:
    exporter = exporter_of("ws_limited")
    service = WsgiApp(dataclasses.replace(exporter.settings, rate_limit_factor=1))
    try:
        limited = dataclasses.replace(exporter, service=service, client=Client(service))
        answers = [limited.call("POST", "export", json=EXAMPLE) for _ in range(11)]
        assert [answer.headers["RateLimit-Limit"] for answer in answers] == ["10"] * 11
        # the campaign does not exist: rejected requests count as well
        assert [answer.status_code for answer in answers] == [404] * 10 + [429]
        # reads have a limit of their own
        assert limited.call("GET", "exports").headers["RateLimit-Limit"] == "60"
    finally:
        service.close()


def test_completion_is_estimated_from_earlier_exports(exporter: Exporter) -> None:
    export = exporter.request(export_type="deliverability", format="ndjson", campaign_ids=["cmp_rtl", "cmp_plain"])
    assert export["estimated_completion"] is None
    # 100 seconds, plus one per campaign
    for number in range(1, 4):
        export_id = exporter.request(export_type="deliverability", format="ndjson")["export_id"]
        exporter.attempt(export_id)
        with connect(exporter.settings, "mailmart_owner") as connection:
            connection.execute(
                "update app.exports set units_total = %s, started_at = completed_at - make_interval(secs => %s)"
                " where export_id = %s",
                (number, 100 + number, export_id),
            )
    export = exporter.request(export_type="deliverability", format="ndjson", campaign_ids=["cmp_rtl", "cmp_plain"])
    with connect(exporter.settings, "mailmart_worker") as connection:
        estimate = connection.execute(
            "select estimated_seconds from app.exports where export_id = %s", (export["export_id"],)
        ).fetchone()
    assert estimate == (pytest.approx(102),)
    waits = datetime.fromisoformat(export["estimated_completion"]) - datetime.fromisoformat(export["created_at"])
    assert timedelta(seconds=101) < waits < timedelta(seconds=110)


def test_the_same_idempotency_key_returns_the_same_export(exporter: Exporter, exporter_of: Callable[[str], Exporter]) -> None:
    headers = {"Idempotency-Key": "once-and-only"}
    first = exporter.call("POST", "export", json=EXAMPLE, headers=headers)
    again = exporter.call("POST", "export", json=dict(reversed(EXAMPLE.items())), headers=headers)
    assert first.status_code == again.status_code == 202
    assert first.get_json()["data"]["export_id"] == again.get_json()["data"]["export_id"]
    other = exporter.call("POST", "export", json={**EXAMPLE, "format": "json"}, headers=headers)
    assert other.status_code == 422
    assert list(other.get_json()["error"]["details"]) == ["Idempotency-Key"]
    # keys of different workspaces are independent
    theirs = exporter_of(OTHER_WORKSPACE).call("POST", "export", json=EXAMPLE, headers=headers)
    assert theirs.get_json()["data"]["export_id"] != first.get_json()["data"]["export_id"]


@pytest.mark.parametrize("key", ["", "with blank", "ü", "x" * 256])
def test_an_invalid_idempotency_key_is_rejected(exporter: Exporter, key: str) -> None:
    response = exporter.call("POST", "export", json=EXAMPLE, headers={"Idempotency-Key": key})
    assert response.status_code == 422
    assert list(response.get_json()["error"]["details"]) == ["Idempotency-Key"]


@pytest.mark.parametrize(
    ("changes", "status", "named"),
    [
        ({"export_type": "everything"}, 422, "export_type"),
        ({"export_type": None}, 422, "export_type"),
        ({"format": "pdf"}, 422, "format"),
        ({"time_range": "1y"}, 422, "time_range"),
        ({"time_range": "custom"}, 422, "start_date"),
        ({"start_date": "2025-01-01"}, 422, "start_date"),
        ({"time_range": "custom", "start_date": "2025-02-01", "end_date": "2025-01-01"}, 400, None),
        ({"time_range": "custom", "start_date": "2020-02-01", "end_date": "2025-01-01"}, 400, None),
        ({"campaign_ids": []}, 422, "campaign_ids"),
        ({"campaign_ids": ["cmp_plain", "cmp_plain"]}, 422, "campaign_ids"),
        ({"campaign_ids": [f"c{number}" for number in range(1001)]}, 422, "campaign_ids"),
        ({"campaign_ids": "cmp_plain"}, 422, "campaign_ids"),
        ({"include_time_series": "true"}, 422, "include_time_series"),
        ({"include_time_series": 1}, 422, "include_time_series"),
        ({"page": 1}, 422, "page"),
        ({"timezone": "Europe/Berlin"}, 422, "timezone"),
        ({"export_type": "messages"}, 422, "include_time_series"),
        ({"export_type": "workspace_overview", "include_time_series": False}, 422, "campaign_ids"),
        ({"export_type": "campaign_comparison", "include_time_series": False}, 422, "campaign_ids"),
        ({"export_type": "engagement_heatmap", "include_time_series": False, "timezone": "Mars/Base"}, 422, "timezone"),
        ({"campaign_ids": ["nobody's"]}, 404, None),
        ({"export_type": "deliverability", "include_time_series": False, "domain_id": "nobody's"}, 404, None),
    ],
)
def test_an_invalid_field_is_named(exporter: Exporter, changes: dict[str, Any], status: int, named: str | None) -> None:
    response = exporter.call("POST", "export", json={**EXAMPLE, **changes})
    assert response.status_code == status, response.text
    assert named is None or named in response.get_json()["error"]["details"]


def test_a_campaign_of_another_workspace_is_not_found(exporter_of: Callable[[str], Exporter]) -> None:
    response = exporter_of(OTHER_WORKSPACE).call("POST", "export", json={**EXAMPLE, "campaign_ids": ["cmp_rtl"]})
    assert response.status_code == 404
    assert response.get_json()["error"]["code"] == "CAMPAIGN_NOT_FOUND"


def test_an_export_is_not_visible_to_other_workspaces(exporter: Exporter, exporter_of: Callable[[str], Exporter]) -> None:
    export_id = exporter.request()["export_id"]
    stranger = exporter_of(OTHER_WORKSPACE)
    for method in ("GET", "DELETE"):
        response = stranger.call(method, f"exports/{export_id}")
        assert response.status_code == 404
        assert response.get_json()["error"]["code"] == "EXPORT_NOT_FOUND"
    assert export_id not in [export["export_id"] for export in stranger.call("GET", "exports").get_json()["data"]["exports"]]
    path = f"/api/v1/workspaces/{WORKSPACE}/analytics/exports/{export_id}"
    assert exporter.client.get(path, headers={"Authorization": f"Bearer {stranger.key}"}).status_code == 403
    assert exporter.status(export_id)["status"] == "processing"


def test_exports_require_the_export_scope(exporter: Exporter) -> None:
    reader = create_key(exporter.settings, WORKSPACE, name="reader", scopes=("read",))
    for method, path in (("POST", "export"), ("GET", "exports"), ("GET", "exports/exp_1"), ("DELETE", "exports/exp_1")):
        response = exporter.call(method, path, headers={"Authorization": f"Bearer {reader}"})
        assert response.status_code == 403, (method, path)


def test_exports_are_listed_in_pages_newest_first(exporter_of: Callable[[str], Exporter]) -> None:
    exporter = exporter_of("ws_pages")
    made = [exporter.request()["export_id"] for _ in range(7)]
    listed: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    for _ in range(3):
        page = exporter.call("GET", "exports", query_string=query).get_json()["data"]
        listed += [export["export_id"] for export in page["exports"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert listed == made[::-1]
    for wrong in ({"limit": 0}, {"limit": 101}, {"limit": "ten"}, {"cursor": "x"}, {"cursor": ""}, {"other": 1}):
        assert exporter.call("GET", "exports", query_string=wrong).status_code == 422, wrong


class DiesAfterEachCommit(ConnectionPool):
    """A pool that retries everything once, as if each connection died after its commit."""

    def execute(self, work: Callable[[psycopg.Connection], T]) -> T:
        super().execute(work)
        return super().execute(work)


def test_a_retried_deletion_has_one_effect(exporter: Exporter) -> None:
    pool = DiesAfterEachCommit(exporter.settings)
    pool.open()
    exports = ExportRepository(pool)
    try:
        export_id = exporter.request()["export_id"]
        assert exports.cancel_or_remove(WORKSPACE, export_id) == "canceled"
        # it stays in the list
        assert exporter.status(export_id)["status"] == "canceled"
        assert exports.cancel_or_remove(WORKSPACE, export_id) == "removed"
        assert exporter.call("GET", f"exports/{export_id}").status_code == 404
        # another request finds nothing
        assert exports.cancel_or_remove(WORKSPACE, export_id) is None
        assert exports.cancel_or_remove(WORKSPACE, "exp_nobody") is None
    finally:
        pool.close()


def test_exports_of_a_workspace_start_in_the_order_of_their_requests(exporter_of: Callable[[str], Exporter]) -> None:
    exporter = exporter_of("ws_in_order")
    body = {"export_type": "messages", "format": "csv"}
    made = [exporter.request(**body)["export_id"] for _ in range(4)]
    # some have ended before others are requested
    for ended in made[:3]:
        exporter.attempt(ended)
    made += [exporter.request(**body)["export_id"] for _ in range(3)]
    assert exporter.call("DELETE", f"exports/{made[4]}").status_code == 204
    made.append(exporter.request(**body)["export_id"])
    with connect(exporter.settings, "mailmart_worker") as connection:
        queued = connection.execute(
            "select exports.export_id from app.exports inner join procrastinate.procrastinate_jobs as jobs"
            " on exports.job_id = jobs.id where exports.workspace_id = 'ws_in_order' and exports.status = 'processing'"
            " order by jobs.priority desc, jobs.id"
        ).fetchall()
    assert [export_id for (export_id,) in queued] == [made[3], *made[5:]]
    # without queued exports the next one has the highest priority
    for waiting in (made[3], *made[5:]):
        exporter.attempt(waiting)
    last = exporter.request(**body)["export_id"]
    assert row(exporter, last)["priority"] == 0


@pytest.mark.parametrize(
    ("place", "status"),
    [
        ("2025-01-01T00:00:00+16:00|exp_x", 200),
        ("2025-01-01T00:00:00-23:59:59.999999|exp_x", 200),
        ("9999-12-31T23:59:59+00:00|exp_x", 200),
        ("0001-01-01T00:00:00+00:00|exp_x", 200),
        ("0001-01-01T00:00:00+23:00|exp_x", 422),
        ("9999-12-31T23:59:59-23:00|exp_x", 422),
        ("2025-01-01T00:00:00|exp_x", 422),
        ("2025-01-01T00:00:00+00:00|exp_\0", 422),
    ],
)
def test_forged_cursors(exporter: Exporter, place: str, status: int) -> None:
    cursor = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
    response = exporter.call("GET", "exports", query_string={"cursor": cursor})
    assert response.status_code == status, response.text


@pytest.mark.parametrize("export_id", ["exp_nobody", "exp_%00", "'", "%F0%9F%92%A9", "x" * 3000])
def test_unknown_export_ids(exporter: Exporter, export_id: str) -> None:
    for method in ("GET", "DELETE"):
        response = exporter.call(method, f"exports/{export_id}")
        assert response.status_code == 404
        assert response.get_json()["error"]["code"] == "EXPORT_NOT_FOUND"
