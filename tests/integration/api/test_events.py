"""`POST /events`: what is stored, what is rejected and kept, and who may send."""

from __future__ import annotations

import dataclasses
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import jwt
import psycopg
import pytest
from werkzeug.test import Client, TestResponse

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.intake.events.routes import MAX_BODY_BYTES
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import OTHER_WORKSPACE, Caller
from tests.integration.api.example import WORKSPACE

# no build counts its events
SENDING = "ws_sending"
URL = f"/api/v1/workspaces/{SENDING}/events"
EVENT = {"event_id": "e", "message_id": "m", "event_type": "sent", "occurred_at": "2026-11-20T10:00:00Z"}
WHOLE_EVENT = {
    **EVENT,
    "event_id": "whole",
    "workspace_id": SENDING,
    "campaign_id": "c",
    "mailbox_id": "b",
    "domain_id": "d",
    "sequence_id": "s",
    "step": "2",
    "variant": "A",
    "tags": ["one", "two"],
    "recipient": "Jane <jane@example.com>",
    "smtp_status": "5.1.1",
    "smtp_code": 550,
    "diagnostic": "no jane@example.com here",
    "is_machine": True,
    "url": "https://example.com/?to=jane@example.com",
    "user_agent": "agent",
}


@pytest.fixture(scope="module")
def sender_key(warehouse_settings: Settings) -> str:
    return create_key(warehouse_settings, SENDING, name="tests", scopes=("ingest",))


@pytest.fixture
def client(service: WsgiApp) -> Client:
    return Client(service)


def send(client: Client, key: str, body: bytes | Mapping[str, Any], url: str = URL, **headers: str) -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    authorization = {"Authorization": f"Bearer {key}"} if key else {}
    return client.post(url, data=data, headers={"Content-Type": "application/json", **authorization, **headers})


def stored(settings: Settings, event_id: str) -> list[dict[str, Any]]:
    with connect(settings, "mailmart_owner") as connection:
        connection.row_factory = psycopg.rows.dict_row  # type: ignore[assignment]
        statement = "select * from raw.email_events where event_id = %s and workspace_id = %s"
        return list(connection.execute(statement, (event_id, SENDING)))  # type: ignore[arg-type]


def kept(settings: Settings) -> list[tuple[Any, ...]]:
    with connect(settings, "mailmart_owner") as connection:
        return connection.execute(
            "select line, provider, problem, reason, source, body from raw.rejected_payloads where workspace_id = %s"
            " order by line",
            (SENDING,),
        ).fetchall()


def forget(settings: Settings) -> None:
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("delete from raw.rejected_payloads where workspace_id = %s", (SENDING,))


def test_every_field_is_stored(client: Client, sender_key: str, warehouse_settings: Settings) -> None:
    response = send(client, sender_key, {"events": [WHOLE_EVENT]})
    assert response.status_code == 202, response.text
    assert response.get_json() == {"success": True, "data": {"accepted": 1, "rejected": 0, "rejections": []}}
    (row,) = stored(warehouse_settings, "whole")
    expected = {**WHOLE_EVENT, "diagnostic": row["diagnostic"], "url": row["url"], "recipient_domain": "example.com"}
    del expected["recipient"], expected["occurred_at"]
    assert {name: row[name] for name in expected} == expected
    assert len(row["recipient_hash"]) == 64
    assert "jane" not in str(row)
    assert row["occurred_at"].isoformat() == "2026-11-20T10:00:00+00:00"


def test_each_rejected_event_is_named_and_kept(client: Client, sender_key: str, warehouse_settings: Settings) -> None:
    forget(warehouse_settings)
    events: list[Any] = [
        {**EVENT, "event_id": "good_1"},
        {**EVENT, "message_id": ""},
        {**EVENT, "workspace_id": OTHER_WORKSPACE},
        {**EVENT, "occurred_at": "yesterday"},
        [EVENT],
        "text",
        None,
        {**EVENT, "campaing_id": "c", "smtp_code": "550"},
        {**EVENT, "smtp_code": 1.5},
        {**EVENT, "tags": ["a", 1]},
        {**EVENT, "event_id": "good_2", "diagnostic": "a\u0000b \ud800 c"},
    ]
    text = json.dumps(events)
    deep = '{"event_id": "deep", "url": ' + "[" * 200 + "]" * 200 + "}"
    body = '{ "events" : ' + text[:-1] + ", " + deep + ', {"event_id": "huge", "smtp_code": 1e131071}' + "] }"
    response = send(client, sender_key, body.encode())
    assert response.status_code == 202, response.text
    data = response.get_json()["data"]
    assert {rejection["index"]: (rejection["problem"], rejection["reason"]) for rejection in data["rejections"]} == {
        1: ("invalid_event", "no message_id"),
        2: ("invalid_event", f"workspace_id is another workspace: {OTHER_WORKSPACE}"),
        3: ("not_rfc3339", "occurred_at is not a time in RFC 3339 such as 2026-11-20T10:00:00Z: yesterday"),
        4: ("invalid_event", "a JSON array, not an object"),
        5: ("invalid_event", "a JSON string, not an object"),
        6: ("invalid_event", "a JSON null, not an object"),
        7: ("invalid_event", "smtp_code is not a number, unknown field campaing_id"),
        8: ("invalid_event", "smtp_code is not a whole number: 1.5"),
        9: ("invalid_event", "tags is not an array of strings"),
        11: ("unreadable_body", "nested deeper than 100 levels"),
        12: ("invalid_event", "no event_type, no message_id, no occurred_at, smtp_code is not a whole number: 1" + "0" * 99),
    }
    assert (data["accepted"], data["rejected"]) == (2, 11)
    assert [rejection["index"] for rejection in data["rejections"]] == sorted(
        rejection["index"] for rejection in data["rejections"]
    )
    assert len(stored(warehouse_settings, "good_1")) == 1
    assert stored(warehouse_settings, "good_2")[0]["diagnostic"] == "a\ufffdb \ufffd c"
    assert not stored(warehouse_settings, "e")
    rows = kept(warehouse_settings)
    assert [row[0] for row in rows] == [rejection["index"] for rejection in data["rejections"]]
    assert rows[0] == (1, "native", "invalid_event", "no message_id", "POST /events", json.dumps(events[1]))
    assert rows[-1][-1] == '{"event_id": "huge", "smtp_code": 1e131071}'
    # the same request once more: nothing is kept twice
    again = send(client, sender_key, body.encode())
    assert again.get_json()["data"] == data
    assert kept(warehouse_settings) == rows


@pytest.mark.parametrize(
    ("body", "status", "details"),
    [
        (b"", 400, {"body": ["Expecting value: line 1, column 1."]}),
        (b'{"events": [', 400, None),
        (json.dumps({"events": [EVENT]}).encode("utf-16"), 400, None),
        (b'{"events": ["\xed\xa0\x80"]}', 400, None),
        (b"[" * 100_000, 400, None),
        (b"[]", 422, {"body": ["Must be an object."]}),
        (b"{}", 422, {"events": ["Missing data for required field."]}),
        (b'{"events": []}', 422, {"events": ["Length must be between 1 and 1000."]}),
        (b'{"events": {}}', 422, {"events": ["Not a valid list."]}),
        (b'{"events": null}', 422, {"events": ["Field may not be null."]}),
        (b'{"events": [1], "event": [2]}', 422, {"event": ["Unknown field. Did you mean events?"]}),
        (b'{"events": [1], "events": [2]}', 422, {"events": ["Must not be repeated."]}),
        (json.dumps({"events": [EVENT] * 1001}).encode(), 422, {"events": ["Length must be between 1 and 1000."]}),
        (json.dumps({"events": [{**EVENT, "diagnostic": "x" * MAX_BODY_BYTES}]}).encode(), 413, None),
    ],
)
def test_a_request_that_is_none(
    client: Client, sender_key: str, body: bytes, status: int, details: dict[str, list[str]] | None
) -> None:
    response = send(client, sender_key, body)
    assert response.status_code == status, response.text
    if details is not None:
        assert response.get_json()["error"]["details"] == details


def test_a_thousand_events(client: Client, sender_key: str, warehouse_settings: Settings) -> None:
    """Of 1.2 MB, half of them invalid: a nested loop of the rejected ones would take seconds."""
    events = [
        {**EVENT, "event_id": f"many_{number}", "diagnostic": "x" * 1000, **({"message_id": 1} if number % 2 else {})}
        for number in range(1000)
    ]
    data = send(client, sender_key, {"events": events}).get_json()["data"]
    assert (data["accepted"], data["rejected"]) == (500, 500)
    assert [rejection["index"] for rejection in data["rejections"]] == list(range(1, 1000, 2))
    assert len(stored(warehouse_settings, "many_0")) == 1


def test_who_may_send(
    client: Client, sender_key: str, caller: Caller, other_caller: Caller, warehouse_settings: Settings
) -> None:
    body = {"events": [{**EVENT, "event_id": "unauthorized"}]}
    assert send(client, "", body).status_code == 401
    assert send(client, sender_key[:-1], body).status_code == 401
    # of another workspace, with the scope and without it
    assert send(client, caller.key, body).status_code == 403
    assert send(client, other_caller.key, body).status_code == 403
    assert send(client, sender_key, body, f"/api/v1/workspaces/{WORKSPACE}/events").status_code == 403
    reader = create_key(warehouse_settings, SENDING, name="reader", scopes=("read", "export", "reports"))
    refused = send(client, reader, body)
    assert (refused.status_code, refused.get_json()["error"]["message"]) == (403, "The credential does not have the scope ingest")
    # and the scope allows nothing else
    overview = client.get(f"/api/v1/workspaces/{SENDING}/analytics/overview", headers={"Authorization": f"Bearer {sender_key}"})
    assert overview.status_code == 403
    assert not stored(warehouse_settings, "unauthorized")


def test_a_token_with_the_scope(warehouse_settings: Settings) -> None:
    secret = "a secret for tests, with more than 32 bytes"
    app = WsgiApp(dataclasses.replace(warehouse_settings, jwt_secret=secret))
    try:
        for scope, status in ((None, 403), ("read export reports", 403), ("ingest", 202)):
            claims = {"workspace_id": SENDING, "exp": time.time() + 60} | ({"scope": scope} if scope else {})
            response = send(Client(app), jwt.encode(claims, secret, "HS256"), {"events": [{**EVENT, "event_id": "by_token"}]})
            assert response.status_code == status, scope
    finally:
        app.close()
    assert len(stored(warehouse_settings, "by_token")) == 1


def test_a_locked_table_is_a_503_and_nothing_is_stored(client: Client, sender_key: str, warehouse_settings: Settings) -> None:
    with connect(warehouse_settings, "mailmart_owner") as other:
        other.execute("lock table raw.email_events in access exclusive mode")
        with connect(warehouse_settings, "mailmart_owner") as connection:
            # a test does not wait as long as a request
            connection.execute("alter function app.receive_events(text[]) set lock_timeout = '50ms'")
        response = send(client, sender_key, {"events": [{**EVENT, "event_id": "locked"}]})
        other.rollback()
    with connect(warehouse_settings, "mailmart_owner") as connection:
        connection.execute("alter function app.receive_events(text[]) set lock_timeout = '5s'")
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert not stored(warehouse_settings, "locked")


def test_an_erased_workspace_is_refused(service: WsgiApp, warehouse_settings: Settings) -> None:
    key = create_key(warehouse_settings, "ws_erased", name="tests", scopes=("ingest",))
    with connect(warehouse_settings, "mailmart_owner") as connection:
        connection.execute("insert into app.erased_workspaces (workspace_id) values ('ws_erased')")
    response = send(Client(service), key, {"events": [EVENT]}, "/api/v1/workspaces/ws_erased/events")
    with connect(warehouse_settings, "mailmart_owner") as connection:
        connection.execute("delete from app.erased_workspaces where workspace_id = 'ws_erased'")
    assert (response.status_code, response.get_json()["error"]["message"]) == (403, "The workspace was erased")


@pytest.mark.parametrize(
    "statement",
    [
        "select app.insert_native_events('ws_other', array['{}'])",
        "insert into raw.email_events (event_id) values ('e')",
        "select app.receive_events(array['{}'])",
        "select app.keep_rejected_events('{a}', '{b}', '{1}', '{c}')",
        "select set_config('mailmart.workspace_id', 'w', true), app.receive_events(array_fill('{}'::text, array[1001]))",
    ],
)
def test_the_api_cannot_store_otherwise(warehouse_settings: Settings, statement: str) -> None:
    with connect(warehouse_settings, "mailmart_api") as connection, pytest.raises(psycopg.Error) as refused:
        connection.execute(statement.encode())
    assert refused.value.sqlstate in ("42501", "22023")


def test_a_large_body_over_http(running: str, sender_key: str) -> None:
    """Through the server: 1.5 MB with a valid key, and what is refused before it is read. The client reads why each time."""
    body = json.dumps({"events": [{**EVENT, "event_id": f"http_{n}", "diagnostic": "x" * 1500} for n in range(1000)]}).encode()

    def post(key: str, data: bytes, path: str = URL) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        request = urllib.request.Request(f"{running}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    status, answer = post(sender_key, body)
    assert (status, answer["data"]["accepted"]) == (202, 1000)
    # a connection that is closed too early is reset in four of five cases
    for _ in range(8):
        assert post(sender_key, body * 2)[0] == 413
        assert post(sender_key, body * 2, "/api/v1/workspaces/ws_a/analytics/query")[0] in (403, 413)
        # 429 after the invalid keys of other tests
        for path in (URL, "/mcp", "/unknown"):
            assert post(sender_key[:-1] + "x", body * 2, path)[0] in (401, 404, 429)
