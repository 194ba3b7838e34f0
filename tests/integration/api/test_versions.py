"""ETags, 304 and cached responses: always of the published batch, and of the request's tenant."""

from __future__ import annotations

import dataclasses
import threading
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from flask import Flask
from werkzeug.test import Client, TestResponse

from api.analytics.cache import ResponseCache
from api.analytics.conditional_get import body_unless_current
from api.auth.api_keys import create_key
from api.builds.repository import rollback
from api.contract.publication import PublicationCache
from api.db.connection import connect
from api.db.pool import ConnectionPool
from api.errors import NotFound
from api.server.app import WsgiApp
from api.settings import Settings
from api.web.request_context import RequestContext
from tests.integration.api.conftest import ONE_MESSAGE, OTHER_WORKSPACE, Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE
from tests.integration.api.publishing import publish_empty_contract
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt
from tests.support.waiting import wait_until

PATH = f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"


def send(caller: Caller, path: str = PATH, tag: str = "", method: str = "GET") -> TestResponse:
    headers = {"Authorization": f"Bearer {caller.key}", **({"If-None-Match": tag} if tag else {})}
    return caller.client.open(f"/api/v1/workspaces/{path}", method=method, headers=headers)


def test_current_copy_is_answered_with_304(caller: Caller) -> None:
    first = send(caller)
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    for header in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = send(caller, tag=header)
        assert (response.status_code, response.data) == (304, b"")
        assert response.headers["ETag"] == tag
        assert response.headers["RateLimit-Limit"]
        assert response.headers["X-Request-Id"]
    assert send(caller, tag='"other"').data == first.data
    head = send(caller, method="HEAD")
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", tag)
    assert head.headers["Content-Length"] == str(len(first.data))


def test_star_matches_only_what_exists(caller: Caller) -> None:
    response = send(caller, f"{WORKSPACE}/campaigns/nowhere/analytics", tag="*")
    assert response.status_code == 404
    assert "ETag" not in response.headers
    # a request that is not cached yet
    assert send(caller, f"{PATH}?timeRange=90d&groupBy=month", tag="*").status_code == 304


def test_credential_is_checked_before_the_etag(caller: Caller, other_caller: Caller) -> None:
    tag = send(caller).headers["ETag"]
    assert send(Caller(caller.client, ""), tag=tag).status_code == 401
    assert send(Caller(caller.client, other_caller.key), tag=tag).status_code == 403
    assert send(Caller(caller.client, other_caller.key), tag="*").status_code == 403


def test_each_request_and_tenant_has_its_own_etag(caller: Caller, other_caller: Caller) -> None:
    paths = [PATH, f"{PATH}?groupBy=week", f"{PATH}?timeRange=7d", f"{WORKSPACE}/analytics/overview"]
    tags = [send(caller, path).headers["ETag"] for path in paths]
    tags.append(send(other_caller, f"{OTHER_WORKSPACE}/campaigns/{CAMPAIGN}/analytics").headers["ETag"])
    assert len(set(tags)) == len(tags)
    # explicit defaults are the same request
    assert send(caller, f"{PATH}?timeRange=30d&groupBy=day").headers["ETag"] == tags[0]


def test_same_window_under_another_name_has_another_etag(caller: Caller) -> None:
    def time_range(query: str) -> tuple[str, str, str]:
        response = send(caller, f"{PATH}?{query}")
        window = response.get_json()["data"]["time_range"]
        return window["period"], window["start"], response.headers["ETag"]

    today = datetime.now(UTC).date()
    custom = f"timeRange=custom&startDate={today - timedelta(days=30)}&endDate={today}"
    for query in ("timeRange=30d", custom, "timeRange=30d", custom):
        assert time_range(query)[0] == ("custom" if query == custom else "30d")
    assert time_range("timeRange=30d")[1] == time_range(custom)[1]
    assert time_range("timeRange=30d")[2] != time_range(custom)[2]


def test_fast_path_responds_like_the_slow_path(warehouse_settings: Settings, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = WsgiApp(warehouse_settings)
    try:
        caller = Caller(Client(service), key)
        for path in (PATH, f"{WORKSPACE}/analytics/engagement-heatmap?timezone=Asia/Kolkata"):
            first, second = send(caller, path), send(caller, path)
            assert first.data == second.data
            changing = {"X-Request-Id", "RateLimit-Remaining", "RateLimit-Reset"}
            assert {name: value for name, value in first.headers if name not in changing} == {
                name: value for name, value in second.headers if name not in changing
            }
        # without Flask, requests that were seen before still work, with and without a body
        monkeypatch.setattr(Flask, "wsgi_app", None)
        assert send(caller).data
        assert send(caller, tag=send(caller).headers["ETag"]).status_code == 304
    finally:
        service.close()


def test_fast_path_works_without_a_response_cache(
    warehouse_settings: Settings, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = WsgiApp(dataclasses.replace(warehouse_settings, response_cache_mb=0))
    try:
        caller = Caller(Client(service), key)
        first = send(caller)
        with monkeypatch.context() as without:
            without.setattr(Flask, "wsgi_app", None)
            second = send(caller)
            assert (second.status_code, second.data, second.headers["ETag"]) == (200, first.data, first.headers["ETag"])
            assert send(caller, tag="*").status_code == 304
            assert caller.client.get(f"/api/v1/workspaces/{PATH}").status_code == 401
        # an unexpected error on the fast path is handled on the slow path
        monkeypatch.setattr(ConnectionPool, "query", unreadable)
        failed = send(caller)
        assert (failed.status_code, failed.get_json()["error"]["code"]) == (500, "INTERNAL_ERROR")
    finally:
        service.close()


def unreadable(*_: object) -> None:
    raise psycopg.errors.UndefinedColumn("of another release")


def test_errors_and_uncached_endpoints_are_not_stored(caller: Caller) -> None:
    for _ in range(2):
        missing = send(caller, f"{WORKSPACE}/campaigns/nowhere/analytics")
        assert (missing.status_code, missing.headers["Cache-Control"]) == (404, "no-store")
        fresh = send(caller, f"{WORKSPACE}/analytics/freshness", tag="*")
        assert (fresh.status_code, fresh.headers["Cache-Control"]) == (200, "no-store")
        assert "ETag" not in fresh.headers


def test_freshness_of_a_new_publication(caller: Caller) -> None:
    data = send(caller, f"{WORKSPACE}/analytics/freshness").get_json()["data"]
    assert data["is_late"] is False
    assert data["last_batch"]["status"] == "published"
    assert data["published"]["batch_id"] == data["last_batch"]["batch_id"] >= 1
    assert data["data_through"] < data["late_after"]


def test_next_day_has_another_window(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    today = send(caller)

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=1)

    monkeypatch.setattr("api.analytics.fast_path.datetime", Tomorrow)
    monkeypatch.setattr("api.analytics.routes.datetime", Tomorrow)
    tomorrow = send(caller, tag=today.headers["ETag"])
    assert tomorrow.status_code == 200
    assert tomorrow.get_json()["data"]["time_range"] != today.get_json()["data"]["time_range"]


@pytest.mark.timeout(720)
def test_every_body_belongs_to_the_batch_of_its_etag(one_message: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """While batches are published and rolled back: one body for each ETag, and the current batch at the end."""
    monkeypatch.setattr("api.contract.publication.CACHE_TTL_SECONDS", 0.01)
    service = WsgiApp(one_message)
    key = create_key(one_message, "w", name="versions")
    bodies: dict[str, set[bytes]] = {}
    wrong: list[str] = []
    stop = threading.Event()

    def read() -> None:
        caller = Caller(Client(service), key)
        tag = ""
        while not stop.is_set():
            response = send(caller, "w/campaigns/c/analytics", tag=tag)
            if response.status_code == 200:
                tag = response.headers["ETag"]
                bodies.setdefault(tag, set()).add(response.data)
            elif response.status_code != 304 or response.headers["ETag"] != tag:
                wrong.append(f"{response.status_code} {response.text}")
            # leave processor time to the builds
            time.sleep(0.02)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, 3):
            more = [dataclasses.replace(ONE_MESSAGE, event_id=f"e{number}", message_id=f"m{number}")]
            load_events(one_message, more, datetime.now(UTC) - timedelta(minutes=30 - number))
            run_dbt(one_message, *WITHOUT_UNIT_TESTS)
            wait_until(lambda seen=number: len(bodies) > seen or wrong, "a response of the new batch")  # type: ignore[misc]
        rollback(one_message)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    # the publication is cached for a second
    time.sleep(1.1)
    last = send(Caller(Client(service), key), "w/campaigns/c/analytics")
    service.close()
    assert wrong == []
    assert all(len(versions) == 1 for versions in bodies.values())
    sent = {int(next(iter(versions)).split(b'"emails_sent":')[1].split(b",")[0]) for versions in bodies.values()}
    assert sent >= {1, 2, 3}
    assert last.get_json()["data"]["summary"]["emails_sent"] == 2


def test_restored_database_with_reused_batch_ids_is_a_new_publication(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.contract.publication.CACHE_TTL_SECONDS", 0.0)
    with connect(settings, "mailmart_owner") as connection:
        publish_empty_contract(connection)
    pool = ConnectionPool(settings)
    pool.open()
    try:
        publications = PublicationCache(pool, settings.target)
        before = publications.current()
        assert publications.current() is before
        with connect(settings, "mailmart_owner") as connection:
            connection.execute("update app.publications set data_as_of = data_as_of - interval '1 day'")
        after = publications.current()
    finally:
        pool.close()
    assert before is not None
    assert after is not None
    assert (after.batch_id, after.data_as_of) == (before.batch_id, before.data_as_of - timedelta(days=1))


def test_response_cache_is_bounded() -> None:
    cache = ResponseCache(1)
    for number in range(100):
        cache.put(f"tag{number}", bytes(50_000))
    cached = [number for number in range(100) if cache.get(f"tag{number}") is not None]
    assert cached == list(range(80, 100))
    cache.put("whole", bytes(200_000))
    assert cache.get("whole") is None
    disabled = ResponseCache(0)
    disabled.put("tag", b"x")
    assert disabled.get("tag") is None


@pytest.mark.parametrize(
    ("if_none_match", "is_current"),
    [
        ('"b"', True),
        ('W/"b"', True),
        ('"a", W/"b"', True),
        (" * ", True),
        (None, False),
        ("", False),
        ('"bb"', False),
        ('"*"', False),
    ],
)
def test_if_none_match_lists_are_parsed(if_none_match: str | None, is_current: bool) -> None:
    context = RequestContext({"REQUEST_METHOD": "GET", "PATH_INFO": "/"})
    body = body_unless_current(context, ResponseCache(1), '"b"', if_none_match, lambda: b"built")
    assert body == (None if is_current else b"built")


def test_star_matches_only_if_a_body_exists() -> None:
    def not_found() -> bytes:
        raise NotFound("NOT_FOUND")

    context = RequestContext({"REQUEST_METHOD": "GET", "PATH_INFO": "/"})
    with pytest.raises(NotFound):
        body_unless_current(context, ResponseCache(1), '"b"', "*", not_found)
