"""Responses that the event loop makes: the same as those of the threads, counted and logged the same, and only where it may."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.server.app import WsgiApp
from api.server.asgi import CompleteResponse
from api.settings import Settings
from tests.integration.api.conftest import Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE

RESOURCE = f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"
PATH = f"/api/v1/workspaces/{RESOURCE}"
OF_EACH_REQUEST = {"x-request-id", "ratelimit-remaining", "ratelimit-reset"}


@pytest.fixture
def service(warehouse_settings: Settings) -> Iterator[WsgiApp]:
    service = WsgiApp(warehouse_settings)
    yield service
    service.close()


@pytest.fixture
def warm_key(service: WsgiApp, warehouse_settings: Settings) -> str:
    """A key with which the response was just requested."""
    key = create_key(warehouse_settings, WORKSPACE, name="loop")
    assert Caller(Client(service), key).get(RESOURCE).status_code == 200
    return key


class Loop:
    """The event loop of the service, in place of the server's."""

    def __init__(self, service: WsgiApp, runner: asyncio.Runner) -> None:
        self._service = service
        self._runner = runner

    def get(self, key: str, *headers: tuple[str, str], path: str = PATH, query: str = "") -> CompleteResponse | None:
        """What it responds to a GET."""
        pairs = [("host", "localhost"), ("authorization", f"Bearer {key}"), *headers]
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in pairs],
        }
        return self._runner.run(self._service.respond_on_loop(scope))


@pytest.fixture
def loop(service: WsgiApp) -> Iterator[Loop]:
    with asyncio.Runner() as runner:
        yield Loop(service, runner)


def test_it_is_the_response_of_a_thread(service: WsgiApp, loop: Loop, warm_key: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "mailmart.access")
    caller = Caller(Client(service), warm_key)
    for headers in ({}, {"If-None-Match": caller.get(RESOURCE).headers["ETag"]}):
        caplog.clear()
        expected = caller.client.get(PATH, headers={"Authorization": f"Bearer {warm_key}", **headers})
        actual = loop.get(warm_key, *((name.lower(), value) for name, value in headers.items()))
        assert actual is not None
        assert (actual.status, actual.body) == (expected.status_code, expected.data)
        names = [name.decode() for name, _ in actual.headers]
        assert names == [name.lower() for name, _ in expected.headers]
        values = {name.decode(): value.decode() for name, value in actual.headers}
        assert {name: values[name] for name in set(names) - OF_EACH_REQUEST} == {
            name.lower(): value for name, value in expected.headers if name.lower() not in OF_EACH_REQUEST
        }
        assert int(values["ratelimit-remaining"]) == int(expected.headers["RateLimit-Remaining"]) - 1
        by_thread, by_loop = (record.fields for record in caplog.records)  # type: ignore[attr-defined]
        own = ("request_id", "seconds")
        assert {**by_loop, **dict.fromkeys(own)} == {**by_thread, **dict.fromkeys(own)}
        assert by_loop["request_id"] == values["x-request-id"]


def test_the_clients_own_request_id_is_kept_if_it_is_well_formed(service: WsgiApp, loop: Loop, warm_key: str) -> None:
    for sent, is_kept in (("mine-1", True), ("not mine\n", False)):
        response = loop.get(warm_key, ("x-request-id", sent))
        assert response is not None
        assert (dict(response.headers)[b"x-request-id"] == sent.encode()) == is_kept


def test_what_may_not_be_answered_at_once_goes_to_a_thread(
    service: WsgiApp, loop: Loop, warm_key: str, warehouse_settings: Settings
) -> None:
    assert loop.get(warm_key) is not None
    other = create_key(warehouse_settings, "another-workspace", name="loop")
    Caller(Client(service), other).get(RESOURCE)
    without_scope = create_key(warehouse_settings, WORKSPACE, name="loop", scopes=("export",))
    Caller(Client(service), without_scope).get(RESOURCE)
    unseen = create_key(warehouse_settings, WORKSPACE, name="loop")
    for key in (other, without_scope, unseen, "", "mm_", "eyJ.eyJ.x"):
        assert loop.get(key) is None
    for header in (("origin", "https://example.org"), ("host", "b"), ("x-request-id", "1")):
        assert loop.get(warm_key, header, header) is None
    assert loop.get(warm_key, ("origin", "https://example.org")) is None
    assert loop.get(warm_key, path=f"{PATH}/more") is None
    assert loop.get(warm_key, query="groupBy=year") is None
    # the last is not there because something expired meanwhile
    Caller(Client(service), warm_key).get(RESOURCE)
    assert loop.get(warm_key) is not None


def test_nothing_older_than_a_second_is_trusted(
    service: WsgiApp, loop: Loop, warm_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service._publications, "_expires_at", 0.0)
    assert loop.get(warm_key) is None


def test_loop_and_threads_count_under_one_limit(warehouse_settings: Settings) -> None:
    limited = dataclasses.replace(warehouse_settings, rate_limit_factor=1)
    key = create_key(limited, WORKSPACE, name="loop")
    service = WsgiApp(dataclasses.replace(limited, redis_url="unix:///nowhere/valkey.sock"))
    try:
        caller = Caller(Client(service), key)
        by_thread = Counter(caller.get(RESOURCE).status_code for _ in range(40))
        with asyncio.Runner() as runner:
            loop = Loop(service, runner)
            by_loop = Counter(response.status if (response := loop.get(key)) else 0 for _ in range(40))
        by_thread += Counter(caller.get(RESOURCE).status_code for _ in range(40))
    finally:
        service.close()
    # whatever the loop did not answer because a second was over is no part of the limit
    assert by_thread[200] + by_loop[200] == 100
    assert set(by_loop) <= {200, 0}
