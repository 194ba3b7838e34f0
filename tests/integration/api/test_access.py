"""Who gets in, and to what; and the answers around the endpoints."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta

import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key, list_keys, revoke_key
from api.db.connection import connect
from api.errors import MailmartError
from api.server.app import Service
from api.settings import Settings
from tests.integration.api.conftest import OTHER_WORKSPACE, Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE

PATH = f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"


def test_each_tenant_sees_its_own_numbers_under_the_same_ids(caller: Caller, other_caller: Caller) -> None:
    mine = caller.get(PATH).get_json()["data"]
    theirs = other_caller.get(f"{OTHER_WORKSPACE}/campaigns/{CAMPAIGN}/analytics").get_json()["data"]
    assert mine["summary"]["emails_sent"] == 5000
    assert theirs["summary"]["emails_sent"] == 7
    assert theirs["campaign_name"] == CAMPAIGN


@pytest.mark.parametrize("workspace", [OTHER_WORKSPACE, "ws_that_is_nowhere", WORKSPACE.upper(), f"{WORKSPACE}%20", "%00"])
def test_another_workspace_is_forbidden_whether_it_exists_or_not(caller: Caller, workspace: str) -> None:
    response = caller.get(f"{workspace}/campaigns/{CAMPAIGN}/analytics")
    assert response.status_code == 403
    assert response.get_json()["error"] == {"code": "FORBIDDEN", "message": "The credential is not for this workspace"}


def test_the_second_wall_holds_without_the_first(
    warehouse_settings: Settings, other_caller: Caller, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the path's workspace is no longer compared with the key's: the rows are still the key's
    monkeypatch.setattr("api.auth.guard.check_workspace", lambda principal, workspace_id: None)
    unguarded = Service(warehouse_settings)
    try:
        # the path's own tenant has asked before: its answer is kept
        assert Caller(Client(unguarded), key).get(PATH).get_json()["data"]["summary"]["emails_sent"] == 5000
        for _ in range(3):
            found = Caller(Client(unguarded), other_caller.key).get(PATH).get_json()
            assert found["data"]["summary"]["emails_sent"] == 7
            assert Caller(Client(unguarded), key).get(PATH).get_json()["data"]["summary"]["emails_sent"] == 5000
    finally:
        unguarded.close()


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer mm_",
        "Basic bW06bW0=",
        "Bearer mm_000000000000_" + "a" * 43,
        "Bearer \x00",
        "mm_x",
    ],
)
def test_no_key_no_answer(service: Service, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = Client(service).get(f"/api/v1/workspaces/{PATH}", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert response.get_json()["error"]["code"] == "UNAUTHORIZED"


def test_no_operation_of_the_document_answers_without_one(service: Service) -> None:
    client = Client(service)
    operations = [
        (path, method)
        for path, methods in client.get("/openapi.json").get_json()["paths"].items()
        for method in methods
        if method != "parameters"
    ]
    assert len(operations) >= 7
    for path, method in operations:
        # a body that is none: who asks is looked at first
        answer = client.open(re.sub(r"\{\w+\}", "x", path), method=method, data=b"{")
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (401, "UNAUTHORIZED"), path


def test_a_right_id_with_a_wrong_secret(service: Service, key: str) -> None:
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    assert Caller(Client(service), wrong).get(PATH).status_code == 401


def test_expiry_revocation_and_scopes(warehouse_settings: Settings) -> None:
    soon = create_key(warehouse_settings, WORKSPACE, name="soon", expires_at=datetime.now(UTC) + timedelta(hours=1))
    revoked = create_key(warehouse_settings, WORKSPACE, name="revoked")
    exporting = create_key(warehouse_settings, WORKSPACE, name="exports", scopes=["export"])
    with connect(warehouse_settings, "mailmart_owner") as connection:
        connection.execute("update app.api_keys set expires_at = now() - interval '1 second' where name = 'soon'")
    revoke_key(warehouse_settings, revoked.split("_")[1])
    service = Service(warehouse_settings)
    try:
        assert Caller(Client(service), soon).get(PATH).status_code == 401
        assert Caller(Client(service), revoked).get(PATH).status_code == 401
        response = Caller(Client(service), exporting).get(PATH)
        assert response.status_code == 403
        assert "scope read" in response.get_json()["error"]["message"]
    finally:
        service.close()
    states = {key.name: key.state for key in list_keys(warehouse_settings, WORKSPACE)}
    assert states["soon"] == "expired"
    assert states["revoked"] == "revoked"
    with pytest.raises(MailmartError, match="no key"):
        revoke_key(warehouse_settings, revoked.split("_")[1])


def test_a_key_is_stored_as_a_hash_and_its_use_is_noted(warehouse_settings: Settings) -> None:
    key = create_key(warehouse_settings, WORKSPACE, name="noted")
    service = Service(warehouse_settings)
    assert Caller(Client(service), key).get(PATH).status_code == 200
    service.close()
    with connect(warehouse_settings, "mailmart_owner") as connection:
        row = connection.execute("select api_keys::text, last_used_at from app.api_keys where name = 'noted'").fetchone()
    assert row is not None
    assert key not in row[0]
    assert key.split("_", 2)[2] not in row[0]
    assert row[1] is not None


@pytest.mark.parametrize(
    ("workspace", "scopes", "days"),
    [("", ["read"], None), ("w", [], None), ("w", ["write"], None), ("w", ["read"], -1)],
)
def test_what_makes_no_key(warehouse_settings: Settings, workspace: str, scopes: list[str], days: int | None) -> None:
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with pytest.raises(MailmartError):
        create_key(warehouse_settings, workspace, name="", scopes=scopes, expires_at=expires_at)


def test_every_answer_has_a_request_id(caller: Caller, service: Service) -> None:
    for path in ("/healthz", "/nothing", f"/api/v1/workspaces/{PATH}", "/openapi.json", "/docs"):
        assert Client(service).get(path).headers["X-Request-Id"]
    assert Client(service).get("/healthz", headers={"X-Request-Id": "mine-1"}).headers["X-Request-Id"] == "mine-1"
    assert Client(service).get("/healthz", headers={"X-Request-Id": "a b"}).headers["X-Request-Id"] != "a b"


def test_errors_of_http_keep_the_envelope_and_their_headers(service: Service) -> None:
    client = Client(service)
    response = client.post(f"/api/v1/workspaces/{PATH}")
    assert response.status_code == 405
    assert "GET" in response.headers["Allow"]
    assert response.get_json()["error"]["code"] == "METHOD_NOT_ALLOWED"
    response = client.get("/nothing")
    assert response.status_code == 404
    assert response.get_json() == {
        "success": False,
        "error": {"code": "NOT_FOUND", "message": "There is nothing at this path"},
    }


def test_no_path_is_mended_with_a_redirect(service: Service, key: str) -> None:
    # its Location would be made of the Host that the client names, and clients drop the credential on the way
    for path in (f"/api/v1/workspaces//{PATH}", f"/api/v1/workspaces/{PATH}/", "//docs//", "/docs/"):
        response = Client(service).get(path, headers={"Authorization": f"Bearer {key}", "Host": "elsewhere.example.com"})
        assert (response.status_code, response.get_json()["error"]["code"]) == (404, "NOT_FOUND")


def test_alive_and_ready(service: Service) -> None:
    assert Client(service).get("/healthz").get_json() == {"status": "alive"}
    assert Client(service).get("/readyz").get_json()["status"] == "ready"


def test_nothing_published_yet(settings: Settings) -> None:
    key = create_key(settings, "w", name="early")
    service = Service(settings)
    try:
        client = Client(service)
        assert client.get("/healthz").status_code == 200
        for path in ("/readyz", "/api/v1/workspaces/w/campaigns/c/analytics"):
            response = client.get(path, headers={"Authorization": f"Bearer {key}"})
            assert response.status_code == 503
            assert response.headers["Retry-After"]
            assert response.get_json()["error"]["code"] == "WAREHOUSE_UNAVAILABLE"
    finally:
        service.close()


def test_no_database_is_no_500(warehouse_settings: Settings, key: str) -> None:
    away = dataclasses.replace(
        warehouse_settings, database_url="postgresql://nobody@127.0.0.1:9/nothing", pool_timeout_seconds=0.3
    )
    service = Service(away)
    try:
        client = Client(service)
        assert client.get("/healthz").status_code == 200
        for path in ("/readyz", f"/api/v1/workspaces/{PATH}"):
            response = client.get(path, headers={"Authorization": f"Bearer {key}"})
            assert response.status_code == 503
            assert response.get_json()["error"]["code"] == "WAREHOUSE_UNAVAILABLE"
    finally:
        service.close()


def test_connections_that_died_are_replaced(warehouse_settings: Settings, key: str) -> None:
    service = Service(warehouse_settings)
    try:
        caller = Caller(Client(service), key)
        assert caller.get(PATH).status_code == 200
        with connect(warehouse_settings, None) as connection:
            ended = connection.execute(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            ).fetchone()
            assert ended is not None
            assert ended[0] >= 1
        assert caller.get(PATH).status_code == 200
    finally:
        service.close()


def test_a_query_that_takes_too_long(warehouse_settings: Settings, key: str) -> None:
    service = Service(dataclasses.replace(warehouse_settings, query_timeout_seconds=1, response_cache_mb=0))
    try:
        caller = Caller(Client(service), key)
        assert caller.get(PATH).status_code == 200
        with connect(warehouse_settings, "mailmart_owner") as connection:
            connection.execute("lock table core.fct_campaign_days in access exclusive mode")
            response = caller.get(PATH)
        assert response.status_code == 503
        assert response.get_json()["error"]["code"] == "QUERY_TIMEOUT"
        assert caller.get(PATH).status_code == 200
    finally:
        service.close()
