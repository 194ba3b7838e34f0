"""Responses of the event loop, cached or computed: those of the threads, counted and logged the same, only where it may."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import psycopg
import pytest
import uvloop
from werkzeug.test import Client, TestResponse

from api.auth.api_keys import create_key
from api.db import loop_queries
from api.db.connection import connect
from api.db.prepared_statements import PreparedStatements
from api.errors import ApiError, NotFound, QueryTimeout
from api.server.app import WsgiApp
from api.server.asgi import AsgiAdapter, CompleteResponse, Unfinished
from api.settings import Settings
from tests.integration.api.conftest import Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE

RESOURCE = f"{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"
PATH = f"/api/v1/workspaces/{RESOURCE}"
OF_THE_WORKSPACE = f"/api/v1/workspaces/{WORKSPACE}/analytics"
ALL_READ = (
    PATH,
    *(
        f"{OF_THE_WORKSPACE}/{name}"
        for name in ("overview", "deliverability", "engagement-heatmap", "data-quality", "freshness", "sources")
    ),
)
Result = TypeVar("Result")

OF_EACH_REQUEST = {"x-request-id", "ratelimit-remaining", "ratelimit-reset"}


@pytest.fixture
def service(warehouse_settings: Settings) -> Iterator[WsgiApp]:
    service = WsgiApp(warehouse_settings)
    yield service
    service.close()


@contextmanager
def started(settings: Settings) -> Iterator[tuple[WsgiApp, Caller, Loop]]:
    """A service of these settings, a caller of its threads with a key, and its event loop."""
    with closing(WsgiApp(settings)) as service, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        caller = Caller(Client(service), create_key(settings, WORKSPACE, name="loop"))
        yield service, caller, Loop(service, runner)


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

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of what runs on it."""
        return self._runner.run(work)

    def get(self, key: str, *headers: tuple[str, str], path: str = PATH, query: str = "") -> CompleteResponse | None:
        """What it responds to a GET."""
        made = self.made(key, *headers, path=path, query=query)
        assert not isinstance(made, Unfinished)
        return made

    def made(
        self, key: str, *headers: tuple[str, str], path: str = PATH, query: str = ""
    ) -> CompleteResponse | Unfinished | None:
        """What it makes of a GET."""
        return self.run(self._service.respond_on_loop(scope_of(key, *headers, path=path, query=query)))

    def get_together(self, key: str, number: int) -> list[CompleteResponse | Unfinished | None]:
        """What it makes of several GETs that come at once."""

        async def together() -> list[CompleteResponse | Unfinished | None]:
            return await asyncio.gather(*(self._service.respond_on_loop(scope_of(key)) for _ in range(number)))

        return self.run(together())

    def whole(self, key: str) -> tuple[int, bytes]:
        """Status and body of a GET, with the threads behind the loop."""
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        async def respond() -> None:
            adapter = AsgiAdapter(self._service, threads=1, on_loop=self._service.respond_on_loop)
            await adapter(scope_of(key), receive, send)

        self.run(respond())
        return sent[0]["status"], b"".join(message["body"] for message in sent[1:])


def scope_of(key: str, *headers: tuple[str, str], path: str = PATH, query: str = "") -> dict[str, Any]:
    """Of a GET, as the server has it."""
    pairs = [("host", "localhost"), ("authorization", f"Bearer {key}"), *headers]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in pairs],
    }


@pytest.fixture
def loop(service: WsgiApp) -> Iterator[Loop]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
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


def test_what_is_not_cached_is_computed_as_a_thread_computes_it(
    warehouse_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mailmart.access")
    with started(dataclasses.replace(warehouse_settings, response_cache_mb=0)) as (_, caller, loop):
        for path in ALL_READ:
            # a request that was seen before
            assert caller.client.get(path, headers={"Authorization": f"Bearer {caller.key}"}).status_code == 200
            for headers in ({}, {"If-None-Match": "*"}):
                expected, actual = _by_both(caller, loop, path, headers, caplog)
                assert (actual.status, actual.body) == (expected.status_code, expected.data)
                assert [name.decode() for name, _ in actual.headers] == [name.lower() for name, _ in expected.headers]
                by_thread, by_loop = (record.fields for record in caplog.records)  # type: ignore[attr-defined]
                own = ("request_id", "seconds", "query_seconds")
                assert {**by_loop, **dict.fromkeys(own)} == {**by_thread, **dict.fromkeys(own)}
                assert by_loop["source"] == "warehouse"
                assert 0 < by_loop["query_seconds"] <= by_loop["seconds"]


def _by_both(
    caller: Caller, loop: Loop, path: str, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> tuple[TestResponse, CompleteResponse]:
    """The responses of a thread and of the loop, with their log lines alone. Again, if what the thread checked has expired."""
    for _ in range(20):
        caplog.clear()
        expected = caller.client.get(path, headers={"Authorization": f"Bearer {caller.key}", **headers})
        actual = loop.get(caller.key, *((name.lower(), value) for name, value in headers.items()), path=path)
        if actual is not None:
            return expected, actual
    raise AssertionError(f"the loop never answered {path}")


QUERIES: tuple[dict[str, Any], ...] = (
    {"metrics": ["sent", "open_rate"], "dimensions": ["campaign"], "granularity": "day", "compare": "previous_period"},
    {"metrics": ["sent"], "granularity": "hour", "timezone": "America/New_York", "limit": 7},
    {"metrics": ["human_coverage", "opened"], "dimensions": ["weekday", "mailbox"], "limit": 1},
)
POSTS: tuple[tuple[str, dict[str, Any]], ...] = (
    *((f"{OF_THE_WORKSPACE}/query", query) for query in QUERIES),
    (f"{OF_THE_WORKSPACE}/compare", {"campaign_ids": [CAMPAIGN, "cmp_of_mail_alone"]}),
)


@pytest.mark.parametrize("cache_mb", [0, 1])
def test_a_post_is_answered_as_a_thread_answers_it(
    warehouse_settings: Settings, caplog: pytest.LogCaptureFixture, cache_mb: int
) -> None:
    caplog.set_level("INFO", "mailmart.access")
    settings = dataclasses.replace(warehouse_settings, response_cache_mb=cache_mb, rate_limit_factor=1000)
    with started(settings) as (service, caller, loop):
        for path, content in POSTS:
            body = json.dumps(content).encode()

            def by_thread(path: str = path, body: bytes = body) -> TestResponse:
                headers = {"Authorization": f"Bearer {caller.key}"}
                return caller.client.post(path, data=body, content_type="application/json", headers=headers)

            def by_loop(path: str = path, body: bytes = body, *headers: tuple[str, str]) -> Any:
                scope = scope_of(caller.key, ("content-type", "application/json"), *headers, path=path)
                return loop.run(service.respond_on_loop({**scope, "method": "POST"}, body))

            by_thread()
            # a repetition, because nothing older than a second is used
            for _ in range(20):
                caplog.clear()
                expected, actual = by_thread(), by_loop()
                if actual is not None:
                    break
            assert expected.status_code == 200, expected.text
            assert (actual.status, actual.body) == (200, expected.data)
            values = {name.decode(): value.decode() for name, value in actual.headers}
            assert {name: values[name] for name in set(values) - OF_EACH_REQUEST} == {
                name.lower(): value for name, value in expected.headers if name.lower() not in OF_EACH_REQUEST
            }
            assert int(values["ratelimit-remaining"]) == int(expected.headers["RateLimit-Remaining"]) - 1
            of_thread, of_loop = (record.fields for record in caplog.records)  # type: ignore[attr-defined]
            own = ("request_id", "seconds", "query_seconds")
            assert {**of_loop, **dict.fromkeys(own)} == {**of_thread, **dict.fromkeys(own)}
            assert of_loop["source"] == ("cache" if cache_mb else "warehouse")
            # no other request is taken for this one
            assert by_loop(path, body + b" ") is None
            assert by_loop(f"{path}?", body) is None
            assert by_loop(path, body, ("content-type", "text/plain")) is None
            assert loop.run(service.respond_on_loop(scope_of(caller.key, path=path), body)) is None


def test_a_thread_gets_the_connection_that_the_loop_keeps(warehouse_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    # the loop gives it back by itself only after the thread has failed
    monkeypatch.setattr(loop_queries, "KEEP_SECONDS", 100 * warehouse_settings.pool_timeout_seconds)
    with started(dataclasses.replace(warehouse_settings, response_cache_mb=0, pool_size=1)) as (service, caller, loop):
        expected = caller.get(RESOURCE).data

        async def answer() -> bytes:
            while not isinstance(made := await service.respond_on_loop(scope_of(caller.key)), CompleteResponse):
                await asyncio.to_thread(caller.get, RESOURCE)
            return made.body

        async def alternate() -> None:
            for _ in range(5):
                assert await answer() == expected
                assert len(service._loop_queries._kept) == 1
                # it needs the only connection
                assert await asyncio.to_thread(service._pool.query, {}, ["select 1"]) == [[(1,)]]

        loop.run(alternate())


def test_a_connection_that_ends_while_the_loop_keeps_it_is_replaced(warehouse_settings: Settings) -> None:
    settings = dataclasses.replace(warehouse_settings, response_cache_mb=0, rate_limit_factor=1000)
    with started(settings) as (service, caller, loop):
        expected = caller.get(RESOURCE).data
        for wait in (0.0, 0.1, 0.0):
            caller.get(RESOURCE)
            loop.made(caller.key)
            kept = service._loop_queries._kept
            for connection in kept:
                with connect(settings, None, autocommit=True) as other:
                    other.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
            # either it is noticed at once, or by the next query
            loop.run(asyncio.sleep(wait))
            assert loop.whole(caller.key) == (200, expected)
        loop.run(asyncio.sleep(loop_queries.KEEP_SECONDS + 0.1))
        assert not service._loop_queries._kept


def test_more_requests_than_connections_all_get_the_response(warehouse_settings: Settings) -> None:
    """Those for which the loop has no connection go to a thread, counted once."""
    with started(without_valkey(warehouse_settings, pool_size=2)) as (service, caller, loop):
        expected = caller.get(RESOURCE)
        made = loop.get_together(caller.key, 40)
        answers = [each for each in made if isinstance(each, CompleteResponse)]
        assert answers
        assert {(each.status, each.body) for each in answers} == {(200, expected.data)}
        assert not service._loop_queries._waiting
        assert service._loop_queries._in_use == 0
        counted = [each for each in made if each is not None]
        remaining = int(caller.get(RESOURCE).headers["RateLimit-Remaining"])
        assert remaining == int(expected.headers["RateLimit-Remaining"]) - len(counted) - 1


def test_a_statement_that_fails_is_tried_again_by_a_thread_and_counted_once(
    warehouse_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(without_valkey(warehouse_settings)) as (_, caller, loop):
        expected = caller.get(RESOURCE)
        # as if the connection was lost while the query ran
        with monkeypatch.context() as broken:
            broken.setattr(PreparedStatements, "run_on_loop", _fail)
            status, body = loop.whole(caller.key)
        assert (status, body) == (200, expected.data)
        remaining = int(caller.get(RESOURCE).headers["RateLimit-Remaining"])
        assert remaining == int(expected.headers["RateLimit-Remaining"]) - 2


def without_valkey(settings: Settings, *, pool_size: int | None = None, cache_mb: int = 0) -> Settings:
    """The service counts requests by itself, and computes responses that it does not cache."""
    return dataclasses.replace(
        settings,
        response_cache_mb=cache_mb,
        redis_url="unix:///nowhere/valkey.sock",
        rate_limit_factor=1,
        pool_size=pool_size or settings.pool_size,
    )


async def _fail(*_: object, **__: object) -> Any:
    raise psycopg.OperationalError("the connection was lost")


def test_errors_of_the_loop_are_those_of_the_threads(
    warehouse_settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mailmart.access")
    with started(dataclasses.replace(warehouse_settings, response_cache_mb=0)) as (service, caller, loop):
        assert caller.get(RESOURCE).status_code == 200
        for error in (QueryTimeout(), NotFound("CAMPAIGN_NOT_FOUND", id=CAMPAIGN, workspace=WORKSPACE)):

            async def fail_on_loop(*_: object, error: ApiError = error, **__: object) -> Any:
                raise error

            def fail(*_: object, error: ApiError = error, **__: object) -> Any:
                raise error

            monkeypatch.setattr(service._loop_queries, "query", fail_on_loop)
            monkeypatch.setattr(service._pool, "query", fail)
            expected, actual = _by_both(caller, loop, PATH, {}, caplog)
            assert (actual.status, actual.body) == (expected.status_code, expected.data)
            values = {name.decode(): value.decode() for name, value in actual.headers}
            assert {name: values[name] for name in set(values) - OF_EACH_REQUEST} == {
                name.lower(): value for name, value in expected.headers if name.lower() not in OF_EACH_REQUEST
            }
            by_thread, by_loop = (record.fields for record in caplog.records)  # type: ignore[attr-defined]
            own = ("request_id", "seconds", "query_seconds")
            assert {**by_loop, **dict.fromkeys(own)} == {**by_thread, **dict.fromkeys(own)}


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
    by_loop = 0
    with started(without_valkey(warehouse_settings, cache_mb=1)) as (_, caller, loop):
        by_thread = Counter(caller.get(RESOURCE).status_code for _ in range(40))
        for _ in range(80):
            if loop.get(caller.key) is None:
                by_thread[caller.get(RESOURCE).status_code] += 1
            else:
                by_loop += 1
    assert by_loop > 0
    assert by_thread[200] + by_loop == 100
    assert by_thread[429] == 20
