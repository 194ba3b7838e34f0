"""The operations on reports: validation, changes, secrets and tenant isolation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any

import psycopg
import pytest

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.db.pool import ConnectionPool
from api.reports.response_schemas import report_schema
from api.reports.schedule import Schedule
from tests.integration.reports.reporter import DAILY, EXPORT, OTHER_WORKSPACE, WORKSPACE, Reporter

BODY = {"name": "Daily", "export": EXPORT, "schedule": DAILY}
HOOK = "https://hooks.example/in"

# includes a build of the warehouse
pytestmark = pytest.mark.timeout(900)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_report_is_created_read_listed_and_deleted(reporter: Reporter) -> None:
    response = reporter.call("POST", "reports", json={**BODY, "name": "Täglich 概要", "recipients": ["a@example.com"]})
    assert response.status_code == 201
    made = response.get_json()["data"]
    assert response.headers["Location"].endswith(f"/api/v1/workspaces/{WORKSPACE}/analytics/reports/{made['report_id']}")
    assert response.headers["Cache-Control"] == "no-store"
    assert made["name"] == "Täglich 概要"
    assert made["schedule"] == DAILY
    assert made["export"] == {**EXPORT, "include_time_series": False}
    assert (made["webhook_url"], made["webhook_secret"], made["is_enabled"]) == (None, None, True)
    expected = Schedule("daily", time(8), "Europe/Berlin").next_run(datetime.now(UTC))
    assert moment(made["next_run_at"]) == expected
    assert reporter.get(made["report_id"]) == made
    second = reporter.create(name="Second")
    listed = reporter.data(reporter.call("GET", "reports?limit=1"))
    assert [report["report_id"] for report in listed["reports"]] == [second["report_id"]]
    listed = reporter.data(reporter.call("GET", f"reports?limit=1&cursor={listed['next_cursor']}"))
    assert (listed["reports"], listed["next_cursor"]) == ([made], None)
    assert reporter.call("DELETE", f"reports/{made['report_id']}").status_code == 204
    missing = reporter.call("GET", f"reports/{made['report_id']}")
    assert (missing.status_code, missing.get_json()["error"]["code"]) == (404, "REPORT_NOT_FOUND")
    assert reporter.call("DELETE", f"reports/{made['report_id']}").status_code == 404


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"name": ""}, "name"),
        ({"name": " \u00a0"}, "name"),
        ({"name": "a\r\nBcc: eve@example.com"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": None}, "name"),
        ({"name": 7}, "name"),
        ({"else": 1}, "else"),
        ({"report_id": "rep_1"}, "report_id"),
        ({"webhook_secret": "whsec_x"}, "webhook_secret"),
        ({"next_run_at": "2025-01-01T00:00:00Z"}, "next_run_at"),
        ({"is_enabled": "yes"}, "is_enabled"),
        ({"is_enabled": 1}, "is_enabled"),
        ({"recipients": ["nobody"]}, "recipients"),
        ({"recipients": ["a@b"]}, "recipients"),
        ({"recipients": ["a@example.com\r\nBcc: b@example.com"]}, "recipients"),
        ({"recipients": ["a@example.com, b@example.com"]}, "recipients"),
        ({"recipients": ["A <a@example.com>"]}, "recipients"),
        ({"recipients": ["ä@example.com"]}, "recipients"),
        ({"recipients": ["a@example.com", "A@Example.com"]}, "recipients"),
        ({"recipients": [f"a{n}@example.com" for n in range(21)]}, "recipients"),
        ({"recipients": None}, "recipients"),
        ({"recipients": [f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 63}.example"]}, "recipients"),
        ({"webhook_url": "http://hooks.example"}, "webhook_url"),
        ({"webhook_url": "https://127.0.0.1/"}, "webhook_url"),
        ({"webhook_url": "https://[::1]/"}, "webhook_url"),
        ({"webhook_url": "https://169.254.169.254/"}, "webhook_url"),
        ({"webhook_url": "https://user:pw@hooks.example/"}, "webhook_url"),
        ({"webhook_url": ""}, "webhook_url"),
        ({"schedule": None}, "schedule"),
        ({"schedule": "daily"}, "schedule"),
        ({"schedule": {**DAILY, "at": "8:00"}}, "schedule"),
        ({"schedule": {**DAILY, "at": "24:00"}}, "schedule"),
        ({"schedule": {**DAILY, "at": "08:00:00"}}, "schedule"),
        ({"schedule": {**DAILY, "at": "08:00\n"}}, "schedule"),
        ({"schedule": {**DAILY, "timezone": "UTC+3"}}, "schedule"),
        ({"schedule": {**DAILY, "timezone": "../etc/passwd"}}, "schedule"),
        ({"schedule": {**DAILY, "timezone": "localtime"}}, "schedule"),
        ({"schedule": {**DAILY, "timezone": "Factory"}}, "schedule"),
        ({"schedule": {**DAILY, "frequency": "hourly"}}, "schedule"),
        ({"schedule": {**DAILY, "weekday": "monday"}}, "schedule"),
        ({"schedule": {**DAILY, "day_of_month": 1}}, "schedule"),
        ({"schedule": {**DAILY, "frequency": "weekly"}}, "schedule"),
        ({"schedule": {**DAILY, "frequency": "weekly", "weekday": "Monday"}}, "schedule"),
        ({"schedule": {**DAILY, "frequency": "monthly"}}, "schedule"),
        ({"schedule": {**DAILY, "frequency": "monthly", "day_of_month": 0}}, "schedule"),
        ({"schedule": {**DAILY, "frequency": "monthly", "day_of_month": 32}}, "schedule"),
        ({"schedule": {**DAILY, "frequency": "monthly", "day_of_month": "1"}}, "schedule"),
        ({"schedule": {**DAILY, "else": 1}}, "schedule"),
        ({"export": {}}, "export"),
        ({"export": {**EXPORT, "time_range": "custom"}}, "export"),
        ({"export": {**EXPORT, "start_date": "2025-01-01", "end_date": "2025-01-02"}}, "export"),
        ({"export": {**EXPORT, "format": "doc"}}, "export"),
        ({"export": {**EXPORT, "else": 1}}, "export"),
        ({"export": {**EXPORT, "export_type": "workspace_overview", "campaign_ids": ["cmp_1"]}}, "export"),
        ({"export": {"export_type": "query", "format": "csv"}}, "export"),
        ({"export": {"export_type": "query", "format": "csv", "query": {"metrics": ["open_rat"]}}}, "export"),
        ({"export": {"export_type": "query", "format": "csv", "query": {"metrics": ["events"]}}}, "export"),
        ({"export": {"export_type": "query", "format": "csv", "query": {"metrics": ["sent"], "time_range": "custom"}}}, "export"),
        ({"export": {"export_type": "query", "format": "csv", "query": {"metrics": ["sent"]}, "time_range": "7d"}}, "export"),
        ({"export": {**EXPORT, "export_type": "workspace_overview", "include_time_series": True}}, "export"),
    ],
)
def test_an_invalid_field_is_named(reporter: Reporter, change: dict[str, Any], name: str) -> None:
    existing = reporter.create()
    calls = [("POST", "reports", {**BODY, **change})]
    # a change to null removes all recipients
    if change != {"recipients": None}:
        calls.append(("PATCH", f"reports/{existing['report_id']}", change))
    for method, path, body in calls:
        response = reporter.call(method, path, json=body)
        error = response.get_json()["error"]
        assert (response.status_code, error["code"]) == (422, "VALIDATION_ERROR")
        assert list(error["details"]) == [name]
    assert reporter.get(existing["report_id"]) == existing


def test_a_missing_field_is_named(reporter: Reporter) -> None:
    error = reporter.call("POST", "reports", json={}).get_json()["error"]
    assert sorted(error["details"]) == ["export", "name", "schedule"]
    response = reporter.call("POST", "reports", json={**BODY, "export": {**EXPORT, "campaign_ids": ["cmp_theirs"]}})
    assert (response.status_code, response.get_json()["error"]["code"]) == (404, "CAMPAIGN_NOT_FOUND")
    assert reporter.call("POST", "reports", data="{", content_type="application/json").status_code == 400
    assert reporter.call("POST", "reports", data="x", content_type="text/plain").status_code == 415
    assert reporter.call("GET", "reports?else=1").status_code == 422
    assert reporter.call("GET", "reports?cursor=x").status_code == 422
    assert reporter.call("GET", "reports/%00").status_code == 404
    assert reporter.call("GET", "reports/rep_none/runs").status_code == 404
    assert reporter.call("PATCH", "reports/rep_none", json={}).status_code == 404


@pytest.mark.parametrize(
    "schedule",
    [
        {"frequency": "weekly", "weekday": "sunday", "at": "00:00", "timezone": "Pacific/Apia"},
        {"frequency": "monthly", "day_of_month": 31, "at": "23:59", "timezone": "Asia/Kathmandu"},
    ],
)
def test_schedules_are_returned_unchanged(reporter: Reporter, schedule: dict[str, Any]) -> None:
    made = reporter.create(schedule=schedule)
    assert made["schedule"] == schedule
    assert reporter.create(schedule={"frequency": "daily", "at": "07:30"})["schedule"]["timezone"] == "UTC"


def test_a_change_keeps_all_other_fields(reporter: Reporter) -> None:
    made = reporter.create(recipients=["a@example.com"], webhook_url=HOOK)

    def changed(**body: Any) -> dict[str, Any]:
        return reporter.data(reporter.call("PATCH", f"reports/{made['report_id']}", json=body))

    rest = {**made, "webhook_secret": None}
    assert changed() == rest
    reporter.execute("update app.reports set updated_at = updated_at - interval '1 hour'")
    now = changed(name="Other")
    assert moment(now["updated_at"]) >= moment(made["updated_at"])
    assert now == {**rest, "name": "Other", "updated_at": now["updated_at"]}
    now = changed(is_enabled=False)
    assert (now["is_enabled"], now["next_run_at"]) == (False, None)
    now = changed(schedule={**DAILY, "at": "09:15"})
    assert now["next_run_at"] is None
    now = changed(is_enabled=True)
    assert moment(now["next_run_at"]) == Schedule("daily", time(9, 15), "Europe/Berlin").next_run(datetime.now(UTC))
    assert changed(recipients=None)["recipients"] == []
    assert changed(export={**EXPORT, "format": "json"})["export"]["format"] == "json"
    now = changed(webhook_url=None)
    assert (now["webhook_url"], now["name"]) == (None, "Other")


def test_only_the_response_that_creates_a_secret_contains_it(reporter: Reporter) -> None:
    made = reporter.create(webhook_url=HOOK)
    secret = made["webhook_secret"]
    assert secret.startswith("whsec_")
    assert reporter.get(made["report_id"])["webhook_secret"] is None
    listed = reporter.data(reporter.call("GET", "reports"))["reports"]
    assert [report["webhook_secret"] for report in listed] == [None]

    def changed(**body: Any) -> Any:
        return reporter.data(reporter.call("PATCH", f"reports/{made['report_id']}", json=body))["webhook_secret"]

    def stored() -> tuple[Any, ...]:
        (row,) = reporter.execute("select webhook_secret, webhook_old_secret from app.reports")
        return row

    # another URL keeps the secret
    assert changed(webhook_url=f"{HOOK}/other") is None
    assert stored() == (secret, None)
    assert changed(rotate_webhook_secret=False) is None
    second = changed(rotate_webhook_secret=True)
    assert second not in (None, secret)
    assert stored() == (second, secret)
    assert changed(webhook_url=None) is None
    assert stored() == (None, None)
    response = reporter.call("PATCH", f"reports/{made['report_id']}", json={"rotate_webhook_secret": True})
    assert list(response.get_json()["error"]["details"]) == ["rotate_webhook_secret"]
    third = changed(webhook_url=HOOK)
    assert third not in (None, secret, second)
    # the role of requests cannot read it
    with connect(reporter.settings, "mailmart_api") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("select webhook_secret from app.reports")


def test_a_retry_after_a_lost_connection_has_no_second_effect(reporter: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    execute = ConnectionPool.execute

    def execute_twice(pool: ConnectionPool, work: Callable[[psycopg.Connection], Any]) -> Any:
        """As if the connection was lost after the first commit."""
        execute(pool, work)
        return execute(pool, work)

    def call(method: str, path: str, **body: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(ConnectionPool, "execute", execute_twice)
            response = reporter.call(method, path, **({"json": body} if body else {}))
        assert response.status_code < 300, response.text
        return response.get_json()["data"] if response.status_code != 204 else None

    def stored() -> tuple[Any, ...]:
        (row,) = reporter.execute("select webhook_secret, webhook_old_secret from app.reports")
        return row

    path = f"reports/{call('POST', 'reports', **BODY)['report_id']}"
    first = call("PATCH", path, webhook_url=HOOK)["webhook_secret"]
    assert stored() == (first, None)
    second = call("PATCH", path, rotate_webhook_secret=True)["webhook_secret"]
    assert stored() == (second, first)
    call("DELETE", path)
    assert reporter.call("DELETE", path).status_code == 404


def test_other_workspaces_cannot_read_change_or_delete_a_report(
    reporter: Reporter, reporter_of: Callable[[str], Reporter]
) -> None:
    made = reporter.create()
    run = reporter.run_now(made["report_id"])
    theirs = reporter_of(OTHER_WORKSPACE)
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/runs", None),
        ("PATCH", "", {"name": "mine"}),
        ("DELETE", "", None),
    ):
        response = theirs.call(method, f"reports/{made['report_id']}{path}", json=body)
        assert (response.status_code, response.get_json()["error"]["code"]) == (404, "REPORT_NOT_FOUND")
    assert theirs.data(theirs.call("GET", "reports"))["reports"] == []
    # with a path of another workspace than the key's
    response = replace(theirs, workspace_id=WORKSPACE).call("GET", "reports")
    assert response.status_code == 403
    assert reporter.get(made["report_id"])["name"] == "Daily"
    assert reporter.runs(made["report_id"]) == [run]
    # row-level security, without the API's own check
    with connect(theirs.settings, "mailmart_api") as connection:
        for workspace, count in ((OTHER_WORKSPACE, 0), ("", 0), (WORKSPACE, 1)):
            connection.execute(f"set mailmart.workspace_id = '{workspace}'")
            for table in ("reports", "report_runs"):
                assert connection.execute(f"select count(*) from app.{table}").fetchone() == (count,)
        connection.execute(f"set mailmart.workspace_id = '{OTHER_WORKSPACE}'")
        assert connection.execute("update app.reports set name = 'mine'").rowcount == 0
        assert connection.execute("delete from app.reports").rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(
                "insert into app.reports (report_id, workspace_id, name, request, frequency, run_at, timezone, next_run_at)"
                " values ('rep_x', %s, 'x', '{}', 'daily', '08:00', 'UTC', now())",
                (WORKSPACE,),
            )


def test_reports_require_the_reports_scope(reporter: Reporter) -> None:
    key = create_key(reporter.settings, WORKSPACE, name="tests", scopes=("read", "export"))
    response = replace(reporter, key=key).call("GET", "reports")
    assert (response.status_code, response.get_json()["error"]["code"]) == (403, "FORBIDDEN")
    assert replace(reporter, key="mm_none").call("GET", "reports").status_code == 401


def test_a_workspace_has_at_most_100_reports(reporter: Reporter) -> None:
    made = reporter.create()
    reporter.execute(
        "insert into app.reports (report_id, workspace_id, name, request, frequency, run_at, timezone, is_enabled)"
        " select 'rep_' || n, workspace_id, name, request, frequency, run_at, timezone, false"
        " from app.reports, generate_series(1, 99) as n where report_id = %s",
        made["report_id"],
    )
    response = reporter.call("POST", "reports", json=BODY)
    assert (response.status_code, response.get_json()["error"]["code"]) == (422, "VALIDATION_ERROR")


def test_a_report_of_a_query(reporter: Reporter) -> None:
    query = {"metrics": ["sent"], "dimensions": ["campaign"], "time_range": "7d"}
    made = reporter.create(export={"export_type": "query", "format": "csv", "query": query})
    assert "time_range" not in made["export"]
    assert {name: made["export"]["query"][name] for name in query} == query
    assert reporter.get(made["report_id"]) == made
    # what is read can be sent back
    changed = reporter.call("PATCH", f"reports/{made['report_id']}", json={"export": made["export"]})
    assert reporter.data(changed)["export"] == made["export"]
    # the sentences of the query's own refusal
    response = reporter.call("POST", "reports", json={**BODY, "export": {**made["export"], "query": {"metrics": ["events"]}}})
    assert response.get_json()["error"]["details"] == {
        "export": ["query: metrics: events is only known by the day of the event: set basis to event."]
    }


def test_responses_match_their_schema(reporter: Reporter, report_contract: Any) -> None:
    schema = report_schema(report_contract)()
    monthly = {**DAILY, "frequency": "monthly", "day_of_month": 3}
    of_query = {"export_type": "query", "format": "csv", "query": {"metrics": ["sent"]}}
    for made in (reporter.create(webhook_url=HOOK), reporter.create(schedule=monthly), reporter.create(export=of_query)):
        assert schema.validate(made) == {}
        assert set(made) == set(schema.fields)
