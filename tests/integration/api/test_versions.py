"""ETags, 304 and kept answers: always those of the batch that is published, and of the tenant who asks."""

from __future__ import annotations

import dataclasses
import threading
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from werkzeug.test import Client, TestResponse

from api.analytics.cache import ResponseCache, is_any, is_known
from api.auth.api_keys import create_key
from api.builds.repository import rollback
from api.contract.publication import Publications
from api.db.connection import connect
from api.db.pool import ConnectionPool
from api.server.app import Service
from api.settings import Settings
from tests.integration.api.conftest import OTHER_WORKSPACE, Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE
from tests.integration.api.publishing import publish_nothing
from tests.integration.warehouse.events import Event
from tests.integration.warehouse.loading import load_events
from tests.support.dbt import run_dbt

PATH = f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"


def ask(caller: Caller, path: str = PATH, tag: str = "", method: str = "GET") -> TestResponse:
    headers = {"Authorization": f"Bearer {caller.key}", **({"If-None-Match": tag} if tag else {})}
    return caller.client.open(f"/api/v1/workspaces/{path}", method=method, headers=headers)


def test_what_a_client_has_is_not_sent_again(caller: Caller) -> None:
    first = ask(caller)
    tag = first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = ask(caller, tag=given)
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == tag
        assert answer.headers["RateLimit-Limit"]
        assert answer.headers["X-Request-Id"]
    assert ask(caller, tag='"other"').data == first.data
    head = ask(caller, method="HEAD")
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", tag)
    assert head.headers["Content-Length"] == str(len(first.data))


def test_a_star_stands_only_for_what_there_is(caller: Caller) -> None:
    answer = ask(caller, f"{WORKSPACE}/campaigns/nowhere/analytics", tag="*")
    assert answer.status_code == 404
    assert "ETag" not in answer.headers
    # a request that nobody made before
    assert ask(caller, f"{PATH}?timeRange=90d&groupBy=month", tag="*").status_code == 304


def test_the_credential_comes_first(caller: Caller, other_caller: Caller) -> None:
    tag = ask(caller).headers["ETag"]
    assert ask(Caller(caller.client, ""), tag=tag).status_code == 401
    assert ask(Caller(caller.client, other_caller.key), tag=tag).status_code == 403
    assert ask(Caller(caller.client, other_caller.key), tag="*").status_code == 403


def test_each_request_and_tenant_has_its_own(caller: Caller, other_caller: Caller) -> None:
    paths = [PATH, f"{PATH}?groupBy=week", f"{PATH}?timeRange=7d", f"{WORKSPACE}/analytics/overview"]
    tags = [ask(caller, path).headers["ETag"] for path in paths]
    tags.append(ask(other_caller, f"{OTHER_WORKSPACE}/campaigns/{CAMPAIGN}/analytics").headers["ETag"])
    assert len(set(tags)) == len(tags)
    # the same window under another name is the same answer
    assert ask(caller, f"{PATH}?timeRange=30d&groupBy=day").headers["ETag"] == tags[0]


def test_a_window_under_another_name_is_another_answer(caller: Caller) -> None:
    def shown(query: str) -> tuple[str, str, str]:
        answer = ask(caller, f"{PATH}?{query}")
        window = answer.get_json()["data"]["time_range"]
        return window["period"], window["start"], answer.headers["ETag"]

    today = datetime.now(UTC).date()
    custom = f"timeRange=custom&startDate={today - timedelta(days=30)}&endDate={today}"
    for query in ("timeRange=30d", custom, "timeRange=30d", custom):
        assert shown(query)[0] == ("custom" if query == custom else "30d")
    assert shown("timeRange=30d")[1] == shown(custom)[1]
    assert shown("timeRange=30d")[2] != shown(custom)[2]


def test_the_short_way_answers_as_the_long_one(warehouse_settings: Settings, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(warehouse_settings)
    try:
        caller = Caller(Client(service), key)
        for path in (PATH, f"{WORKSPACE}/analytics/engagement-heatmap?timezone=Asia/Kolkata"):
            first, second = ask(caller, path), ask(caller, path)
            assert first.data == second.data
            changing = {"X-Request-Id", "RateLimit-Remaining", "RateLimit-Reset"}
            assert {name: value for name, value in first.headers if name not in changing} == {
                name: value for name, value in second.headers if name not in changing
            }
        # the long way is not gone at all, not even for an answer without a body
        monkeypatch.setattr(service._served.app, "wsgi_app", None)
        assert ask(caller).data
        assert ask(caller, tag=ask(caller).headers["ETag"]).status_code == 304
    finally:
        service.close()


def test_what_is_not_kept_goes_the_short_way_as_well(
    warehouse_settings: Settings, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(dataclasses.replace(warehouse_settings, response_cache_mb=0))
    try:
        caller = Caller(Client(service), key)
        first = ask(caller)
        with monkeypatch.context() as without:
            without.setattr(service._served.app, "wsgi_app", None)
            second = ask(caller)
            assert (second.status_code, second.data, second.headers["ETag"]) == (200, first.data, first.headers["ETag"])
            assert ask(caller, tag="*").status_code == 304
            assert caller.client.get(f"/api/v1/workspaces/{PATH}").status_code == 401
        # what is no answer of ours is found out there, and answered on the long way
        monkeypatch.setattr(service._pool, "read", unreadable)
        failed = ask(caller)
        assert (failed.status_code, failed.get_json()["error"]["code"]) == (500, "INTERNAL_ERROR")
    finally:
        service.close()


def unreadable(*_: object) -> None:
    raise psycopg.errors.UndefinedColumn("of another release")


def test_errors_and_what_changes_with_the_clock_are_not_kept(caller: Caller) -> None:
    for _ in range(2):
        missing = ask(caller, f"{WORKSPACE}/campaigns/nowhere/analytics")
        assert (missing.status_code, missing.headers["Cache-Control"]) == (404, "no-store")
        fresh = ask(caller, f"{WORKSPACE}/analytics/freshness", tag="*")
        assert (fresh.status_code, fresh.headers["Cache-Control"]) == (200, "no-store")
        assert "ETag" not in fresh.headers


def test_freshness(caller: Caller) -> None:
    data = ask(caller, f"{WORKSPACE}/analytics/freshness").get_json()["data"]
    assert data["is_late"] is False
    assert data["last_batch"]["status"] == "published"
    assert data["published"]["batch_id"] == data["last_batch"]["batch_id"] >= 1
    assert data["data_through"] < data["late_after"]


def test_a_tomorrow_has_another_window(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    today = ask(caller)

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=1)

    monkeypatch.setattr("api.analytics.fast_path.datetime", Tomorrow)
    monkeypatch.setattr("api.analytics.routes.datetime", Tomorrow)
    tomorrow = ask(caller, tag=today.headers["ETag"])
    assert tomorrow.status_code == 200
    assert tomorrow.get_json()["data"]["time_range"] != today.get_json()["data"]["time_range"]


@pytest.mark.timeout(240)
def test_every_body_is_of_the_batch_that_its_tag_names(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers ask while batches are published and taken back: one tag, one body; and the newest is there at the end."""
    monkeypatch.setattr("api.contract.publication.CACHE_TTL_SECONDS", 0.01)
    now = datetime.now(UTC)
    event = Event("e0", "w", "m0", "sent", now - timedelta(days=1), campaign_id="c")
    load_events(settings, [event], now - timedelta(hours=1))
    run_dbt(settings, "build", "--exclude-resource-type", "unit_test")
    service = Service(settings)
    key = create_key(settings, "w", name="versions")
    bodies: dict[str, set[bytes]] = {}
    wrong: list[str] = []
    stop = threading.Event()

    def read() -> None:
        caller = Caller(Client(service), key)
        tag = ""
        while not stop.is_set():
            answer = ask(caller, "w/campaigns/c/analytics", tag=tag)
            if answer.status_code == 200:
                tag = answer.headers["ETag"]
                bodies.setdefault(tag, set()).add(answer.data)
            elif answer.status_code != 304 or answer.headers["ETag"] != tag:
                wrong.append(f"{answer.status_code} {answer.text}")
            # the builds need the processor as well
            time.sleep(0.005)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, 4):
            moved = [dataclasses.replace(event, event_id=f"e{number}", message_id=f"m{number}")]
            load_events(settings, moved, datetime.now(UTC) - timedelta(minutes=30 - number))
            run_dbt(settings, "build", "--exclude-resource-type", "unit_test")
        rollback(settings)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    # what is published is remembered for a second
    time.sleep(1.1)
    last = ask(Caller(Client(service), key), "w/campaigns/c/analytics")
    service.close()
    assert wrong == []
    assert all(len(found) == 1 for found in bodies.values())
    sent = {int(next(iter(found)).split(b'"emails_sent":')[1].split(b",")[0]) for found in bodies.values()}
    assert sent >= {1, 2, 3, 4}
    assert last.get_json()["data"]["summary"]["emails_sent"] == 3


def test_a_restored_database_counts_its_batches_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.contract.publication.CACHE_TTL_SECONDS", 0.0)
    with connect(settings, "mailmart_owner") as connection:
        publish_nothing(connection)
    pool = ConnectionPool(settings)
    pool.open()
    try:
        publications = Publications(pool, settings.target)
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


def test_kept_answers_have_bounds() -> None:
    answers = ResponseCache(1)
    for number in range(100):
        answers.put(f"tag{number}", bytes(50_000))
    kept = [number for number in range(100) if answers.get(f"tag{number}") is not None]
    assert kept == list(range(80, 100))
    answers.put("whole", bytes(200_000))
    assert answers.get("whole") is None
    nothing = ResponseCache(0)
    nothing.put("tag", b"x")
    assert nothing.get("tag") is None


def test_lists_of_tags() -> None:
    assert is_known('"a", W/"b"', '"b"')
    assert not is_known(None, '"b"')
    assert not is_known("", '"b"')
    assert not is_known('"bb"', '"b"')
    assert is_any(" * ")
    assert not is_any('"*"')
    assert not is_any(None)
