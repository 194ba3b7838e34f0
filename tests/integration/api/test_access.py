"""Authentication and authorization; request ids, errors and health checks; what happens if the database is unavailable."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta

import pytest
from cachetools import TTLCache
from werkzeug.test import Client

from api.auth.api_keys import create_key, list_keys, revoke_key
from api.auth.failed_logins import MAX_FAILURES
from api.db.connection import connect
from api.errors import MailmartError
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import OTHER_WORKSPACE, Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE

PATH = f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"


def test_tenants_with_the_same_ids_see_only_their_own_data(caller: Caller, other_caller: Caller) -> None:
    mine = caller.get(PATH).get_json()["data"]
    theirs = other_caller.get(f"{OTHER_WORKSPACE}/campaigns/{CAMPAIGN}/analytics").get_json()["data"]
    assert mine["summary"]["emails_sent"] == 5000
    assert theirs["summary"]["emails_sent"] == 7
    assert theirs["campaign_name"] == CAMPAIGN


@pytest.mark.parametrize("workspace", [OTHER_WORKSPACE, "ws_unknown", WORKSPACE.upper(), f"{WORKSPACE}%20", "%00"])
def test_other_workspace_is_forbidden_whether_it_exists_or_not(caller: Caller, workspace: str) -> None:
    response = caller.get(f"{workspace}/campaigns/{CAMPAIGN}/analytics")
    assert response.status_code == 403
    assert response.get_json()["error"] == {"code": "FORBIDDEN", "message": "The credential is not for this workspace"}


def test_rows_belong_to_the_credential_even_without_the_path_check(
    warehouse_settings: Settings, other_caller: Caller, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # without the comparison of path and key, row-level security still returns the key's rows
    monkeypatch.setattr("api.auth.guard.check_workspace", lambda principal, workspace_id: None)
    unguarded = WsgiApp(warehouse_settings)
    try:
        # the path's own tenant comes first, so its response is cached
        assert Caller(Client(unguarded), key).get(PATH).get_json()["data"]["summary"]["emails_sent"] == 5000
        for _ in range(3):
            body = Caller(Client(unguarded), other_caller.key).get(PATH).get_json()
            assert body["data"]["summary"]["emails_sent"] == 7
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
def test_missing_or_invalid_credential_is_401(service: WsgiApp, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    response = Client(service).get(f"/api/v1/workspaces/{PATH}", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert response.get_json()["error"]["code"] == "UNAUTHORIZED"


def test_every_operation_of_the_document_requires_a_credential(service: WsgiApp) -> None:
    client = Client(service)
    operations = [
        (path, method)
        for path, methods in client.get("/openapi.json").get_json()["paths"].items()
        for method in methods
        if method != "parameters"
    ]
    assert len(operations) >= 7
    for path, method in operations:
        # with an invalid body, because the credential is checked first
        response = client.open(re.sub(r"\{\w+\}", "x", path), method=method, data=b"{")
        assert (response.status_code, response.get_json()["error"]["code"]) == (401, "UNAUTHORIZED"), path


def test_known_key_id_with_wrong_secret_is_401(service: WsgiApp, key: str) -> None:
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    assert Caller(Client(service), wrong).get(PATH).status_code == 401


def test_a_client_with_too_many_invalid_keys_is_429_and_others_are_not(warehouse_settings: Settings, key: str) -> None:
    service = WsgiApp(warehouse_settings)
    try:
        attacker, neighbor = Client(service), Client(service)
        environ = {"REMOTE_ADDR": "192.0.2.1"}

        def call(client: Client, credential: str, environ: dict[str, str]) -> int:
            headers = {"Authorization": f"Bearer {credential}"}
            return client.get(f"/api/v1/workspaces/{PATH}", headers=headers, environ_base=environ).status_code

        # behind the same address, and known: not blocked with the attacker
        assert call(neighbor, key, environ) == 200
        wrong = f"mm_{'0' * 12}_{'x' * 43}"
        assert [call(attacker, wrong, environ) for _ in range(MAX_FAILURES + 2)] == [401] * MAX_FAILURES + [429, 429]
        assert call(neighbor, key, environ) == 200
        assert call(attacker, wrong, {"REMOTE_ADDR": "192.0.2.2"}) == 401
        other = create_key(warehouse_settings, WORKSPACE, name="unknown here")
        assert call(attacker, other, environ) == 429
        assert call(attacker, other, {"REMOTE_ADDR": "192.0.2.2"}) == 200
    finally:
        service.close()


def test_expired_and_revoked_keys_are_401_and_a_missing_scope_is_403(warehouse_settings: Settings) -> None:
    expired = create_key(warehouse_settings, WORKSPACE, name="expired", expires_at=datetime.now(UTC) + timedelta(hours=1))
    revoked = create_key(warehouse_settings, WORKSPACE, name="revoked")
    exporting = create_key(warehouse_settings, WORKSPACE, name="exports", scopes=["export"])
    with connect(warehouse_settings, "mailmart_owner") as connection:
        connection.execute("update app.api_keys set expires_at = now() - interval '1 second' where name = 'expired'")
    revoke_key(warehouse_settings, revoked.split("_")[1])
    service = WsgiApp(warehouse_settings)
    try:
        assert Caller(Client(service), expired).get(PATH).status_code == 401
        assert Caller(Client(service), revoked).get(PATH).status_code == 401
        response = Caller(Client(service), exporting).get(PATH)
        assert response.status_code == 403
        assert "scope read" in response.get_json()["error"]["message"]
    finally:
        service.close()
    states = {key.name: key.state for key in list_keys(warehouse_settings, WORKSPACE)}
    assert states["expired"] == "expired"
    assert states["revoked"] == "revoked"
    with pytest.raises(MailmartError, match="no active key"):
        revoke_key(warehouse_settings, revoked.split("_")[1])


def test_key_is_stored_hashed_and_its_last_use_is_recorded(warehouse_settings: Settings) -> None:
    key = create_key(warehouse_settings, WORKSPACE, name="recorded")
    service = WsgiApp(warehouse_settings)
    assert Caller(Client(service), key).get(PATH).status_code == 200
    service.close()
    with connect(warehouse_settings, "mailmart_owner") as connection:
        row = connection.execute("select api_keys::text, last_used_at from app.api_keys where name = 'recorded'").fetchone()
    assert row is not None
    assert key not in row[0]
    assert key.split("_", 2)[2] not in row[0]
    assert row[1] is not None


def test_key_may_expire_from_the_cache_during_a_lookup(
    warehouse_settings: Settings, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `in` may find an entry that expires right after that
    monkeypatch.setattr(TTLCache, "__contains__", lambda cache, key: True)
    service = WsgiApp(warehouse_settings)
    try:
        assert Caller(Client(service), key).get(PATH).status_code == 200
    finally:
        service.close()


@pytest.mark.parametrize(
    ("workspace", "scopes", "days"),
    [("", ["read"], None), ("w", [], None), ("w", ["write"], None), ("w", ["read"], -1)],
)
def test_key_with_invalid_parameters_is_not_created(
    warehouse_settings: Settings, workspace: str, scopes: list[str], days: int | None
) -> None:
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with pytest.raises(MailmartError):
        create_key(warehouse_settings, workspace, name="", scopes=scopes, expires_at=expires_at)


def test_every_response_has_a_request_id(caller: Caller, service: WsgiApp) -> None:
    for path in ("/healthz", "/nothing", f"/api/v1/workspaces/{PATH}", "/openapi.json", "/docs"):
        assert Client(service).get(path).headers["X-Request-Id"]
    assert Client(service).get("/healthz", headers={"X-Request-Id": "mine-1"}).headers["X-Request-Id"] == "mine-1"
    assert Client(service).get("/healthz", headers={"X-Request-Id": "a b"}).headers["X-Request-Id"] != "a b"


def test_http_errors_have_the_envelope_and_keep_their_headers(service: WsgiApp) -> None:
    client = Client(service)
    response = client.post(f"/api/v1/workspaces/{PATH}")
    assert response.status_code == 405
    assert "GET" in response.headers["Allow"]
    assert response.get_json()["error"]["code"] == "METHOD_NOT_ALLOWED"
    response = client.get("/nothing")
    assert response.status_code == 404
    assert response.get_json() == {
        "success": False,
        "error": {"code": "NOT_FOUND", "message": "No operation at this path"},
    }


def test_no_path_is_redirected(service: WsgiApp, key: str) -> None:
    # its Location would contain the Host that the client sent, and clients drop the credential when they follow it
    for path in (f"/api/v1/workspaces//{PATH}", f"/api/v1/workspaces/{PATH}/", "//docs//", "/docs/"):
        response = Client(service).get(path, headers={"Authorization": f"Bearer {key}", "Host": "elsewhere.example.com"})
        assert (response.status_code, response.get_json()["error"]["code"]) == (404, "NOT_FOUND")


def test_health_checks(service: WsgiApp) -> None:
    assert Client(service).get("/healthz").get_json() == {"status": "alive"}
    assert Client(service).get("/readyz").get_json()["status"] == "ready"


def test_requests_before_the_first_publication_are_503(settings: Settings) -> None:
    key = create_key(settings, "w", name="early")
    service = WsgiApp(settings)
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


def test_unavailable_database_is_503(warehouse_settings: Settings, key: str) -> None:
    unavailable = dataclasses.replace(
        warehouse_settings, database_url="postgresql://nobody@127.0.0.1:9/nothing", pool_timeout_seconds=0.3
    )
    service = WsgiApp(unavailable)
    try:
        client = Client(service)
        assert client.get("/healthz").status_code == 200
        for path in ("/readyz", f"/api/v1/workspaces/{PATH}"):
            response = client.get(path, headers={"Authorization": f"Bearer {key}"})
            assert response.status_code == 503
            assert response.get_json()["error"]["code"] == "WAREHOUSE_UNAVAILABLE"
    finally:
        service.close()


def test_lost_connections_are_replaced(warehouse_settings: Settings, key: str) -> None:
    service = WsgiApp(warehouse_settings)
    try:
        caller = Caller(Client(service), key)
        assert caller.get(PATH).status_code == 200
        with connect(warehouse_settings, None) as connection:
            terminated = connection.execute(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            ).fetchone()
            assert terminated is not None
            assert terminated[0] >= 1
        assert caller.get(PATH).status_code == 200
    finally:
        service.close()


def test_slow_query_is_503_query_timeout(warehouse_settings: Settings, key: str) -> None:
    service = WsgiApp(dataclasses.replace(warehouse_settings, query_timeout_seconds=1, response_cache_mb=0))
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
