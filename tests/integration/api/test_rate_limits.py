"""Rate limits: the specification's numbers, exact over all processes, and without Valkey too."""

from __future__ import annotations

import dataclasses
import http.client
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.auth.rate_limit import Quota, RateLimiter
from api.contract.exposures import read_endpoints
from api.embedded import valkey
from api.embedded.paths import Folders, find_folders
from api.server.app import WsgiApp
from api.settings import Settings
from tests.integration.api.conftest import Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE
from tests.integration.api.metrics import samples
from tests.integration.api.serving import serving
from tests.support.ports import free_port
from tests.support.waiting import wait_until

PATH = f"/api/v1/workspaces/{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"
LIMITS = {
    "campaign_analytics": 100,
    "workspace_overview": 60,
    "deliverability": 30,
    "engagement_heatmap": 30,
    "compare_campaigns": 30,
}


@pytest.fixture
def folders() -> Iterator[Folders]:
    """A running, empty Valkey."""
    with tempfile.TemporaryDirectory(prefix="mailmart-valkey-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o755)
        folders = find_folders(Path(home))
        valkey.start(folders)
        try:
            yield folders
        finally:
            valkey.stop(folders)


@pytest.fixture
def limited(warehouse_settings: Settings, folders: Folders) -> Settings:
    """The default limits, counted in the Valkey."""
    return dataclasses.replace(warehouse_settings, rate_limit_factor=1, redis_url=f"unix://{valkey.socket_path(folders)}")


def pid_of(folders: Folders) -> int:
    """The process id of the Valkey."""
    with redis.Redis(unix_socket_path=str(valkey.socket_path(folders))) as client:
        return int(client.info("server")["process_id"])


def statuses(address: str, key: str, requests: int, threads: int = 8) -> Counter[int]:
    """The status codes of concurrent requests."""

    def send(count: int) -> list[int]:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        codes = []
        for _ in range(count):
            connection.request("GET", PATH, headers={"Authorization": f"Bearer {key}"})
            response = connection.getresponse()
            response.read()
            codes.append(response.status)
        connection.close()
        return codes

    with ThreadPoolExecutor(threads) as pool:
        return Counter(status for part in pool.map(send, [requests // threads] * threads) for status in part)


def test_limits_match_the_specification(manifest: dict[str, Any]) -> None:
    endpoints = {endpoint.name: endpoint.limit for endpoint in read_endpoints(manifest)}
    assert LIMITS.items() <= endpoints.items()


def test_two_processes_share_a_limit_exactly(limited: Settings, tmp_path: Path) -> None:
    key = create_key(limited, WORKSPACE, name="limits")
    with serving(limited, tmp_path / "log", workers=2) as service:
        assert statuses(service.address, key, 160) == {200: 100, 429: 60}


def test_rate_limit_headers_and_429(limited: Settings) -> None:
    key = create_key(limited, WORKSPACE, name="headers")
    service = WsgiApp(limited)
    try:
        caller = Caller(Client(service), key)
        # a request with invalid parameters counts; one without a credential does not
        assert Caller(Client(service), "").get(PATH.split("/", 4)[4]).status_code == 401
        first = caller.get(PATH.split("/", 4)[4], groupBy="year")
        assert first.status_code == 422
        assert (first.headers["RateLimit-Limit"], first.headers["RateLimit-Remaining"]) == ("100", "99")
        assert 59 <= int(first.headers["RateLimit-Reset"]) <= 60
        for left in range(98, -1, -1):
            response = caller.get(PATH.split("/", 4)[4])
            assert response.status_code == 200
            assert response.headers["RateLimit-Remaining"] == str(left)
            assert "Retry-After" not in response.headers
        rejected = caller.get(PATH.split("/", 4)[4])
        assert rejected.status_code == 429
        assert rejected.get_json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
        assert rejected.headers["RateLimit-Remaining"] == "0"
        assert 1 <= int(rejected.headers["Retry-After"]) <= 60
        assert rejected.headers["Retry-After"] == rejected.headers["RateLimit-Reset"]
        # each endpoint has its own limit
        other = caller.get(f"{WORKSPACE}/analytics/overview")
        assert (other.status_code, other.headers["RateLimit-Limit"], other.headers["RateLimit-Remaining"]) == (200, "60", "59")
    finally:
        service.close()


def test_each_workspace_has_its_own_limit(limited: Settings) -> None:
    limiter = RateLimiter(limited)
    assert [limiter.acquire("one", "toy", 2).is_allowed for _ in range(3)] == [True, True, False]
    assert limiter.acquire("other", "toy", 2) == Quota(is_allowed=True, limit=2, remaining=1, reset=60)
    limiter.close()


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "local"])
def test_lowered_limit_applies_to_earlier_requests(limited: Settings, is_shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.rate_limit.WINDOW_SECONDS", 10)
    limiter = RateLimiter(limited if is_shared else dataclasses.replace(limited, redis_url="unix:///nowhere/valkey.sock"))
    requested: list[float] = []
    for _ in range(4):
        requested.append(time.monotonic())
        assert limiter.acquire("lowered", "toy", 5).is_allowed
        time.sleep(1)
    refused_at = time.monotonic()
    quota = limiter.acquire("lowered", "toy", 2)
    assert quota._replace(reset=0) == Quota(is_allowed=False, limit=2, remaining=0, reset=0)
    # the third of the four has to leave the window before another one is allowed, not the first; in whole seconds, rounded up
    assert requested[2] + 10 - time.monotonic() <= quota.reset <= requested[3] + 10 - refused_at
    limiter.close()


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "local"])
def test_no_window_has_more_requests_than_the_limit(limited: Settings, is_shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # a sliding window: a request becomes available when the oldest one leaves the window
    monkeypatch.setattr("api.auth.rate_limit.WINDOW_SECONDS", 1)
    limiter = RateLimiter(limited if is_shared else dataclasses.replace(limited, redis_url="unix:///nowhere/valkey.sock"))
    # each allowed request was counted between two readings of the test's clock
    before: list[float] = []
    after: list[float] = []
    end = time.monotonic() + 3.3
    while time.monotonic() < end or len(before) < 15:
        called = time.monotonic()
        if limiter.acquire("w", "toy", 5).is_allowed:
            before.append(called)
            after.append(time.monotonic())
        time.sleep(0.01)
    limiter.close()
    # the two clocks may differ in speed: a little slack
    assert all(after[index + 5] - before[index] > 0.99 for index in range(len(before) - 5))


@pytest.mark.parametrize("stop_signal", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
def test_processes_count_alone_during_an_outage_and_share_again_after_it(
    limited: Settings, folders: Folders, stop_signal: signal.Signals, tmp_path: Path
) -> None:
    limited = dataclasses.replace(limited, rate_limit_factor=1000)
    key = create_key(limited, WORKSPACE, name="outage")
    codes: Counter[int] = Counter()
    stop = threading.Event()
    port = free_port()
    with serving(limited, tmp_path / "log", workers=2, MAILMART_METRICS_PORT=str(port)) as service:

        def load() -> None:
            # leaves processor time to the service
            while not stop.wait(0.1):
                codes.update(statuses(service.address, key, 40, threads=4))

        thread = threading.Thread(target=load)
        thread.start()

        def is_up() -> float:
            return samples(port)["mailmart_rate_limit_backend_up"]

        def seconds_of_requests() -> float:
            began, goal = time.monotonic(), codes.total() + 200
            wait_until(lambda: codes.total() >= goal, "requests are answered")
            return time.monotonic() - began

        try:
            before = seconds_of_requests()
            pid = pid_of(folders)
            os.kill(pid, stop_signal)
            wait_until(lambda: is_up() == 0, "the outage is noticed")
            # requests continue, and a hanging server delays them only briefly
            assert seconds_of_requests() < 10 * before
            assert is_up() == 0
            if stop_signal == signal.SIGSTOP:
                os.kill(pid, signal.SIGCONT)
            else:
                valkey.start(folders)
            wait_until(lambda: is_up() == 1, "it is used again")
            seconds_of_requests()
        finally:
            stop.set()
            thread.join()
        assert set(codes) == {200}
        assert is_up() == 1
        log = service.log.read_text()
        assert "rate limit backend down" in log
        assert "rate limit backend up" in log
        before = count_in(folders)
        assert statuses(service.address, key, 40) == {200: 40}
        assert count_in(folders) == before + 40


def count_in(folders: Folders) -> int:
    """The number of requests that the Valkey has counted."""
    with redis.Redis(unix_socket_path=str(valkey.socket_path(folders))) as client:
        return int(client.llen(f"mailmart:limit:campaign_analytics:{WORKSPACE}"))


def test_local_fallback_enforces_the_limits(limited: Settings, folders: Folders) -> None:
    valkey.stop(folders)
    key = create_key(limited, WORKSPACE, name="local")
    service = WsgiApp(limited)
    try:
        caller = Caller(Client(service), key)
        codes = Counter(caller.get(f"{WORKSPACE}/analytics/deliverability").status_code for _ in range(33))
        assert codes == {200: 30, 429: 3}
    finally:
        service.close()


def test_without_a_configured_server_each_process_counts_alone(settings: Settings, tmp_path: Path) -> None:
    # an external database, no Redis, and no embedded servers
    limiter = RateLimiter(dataclasses.replace(settings, rate_limit_factor=1, home=tmp_path / "empty"))
    assert [limiter.acquire("w", "toy", 2).is_allowed for _ in range(3)] == [True, True, False]
    limiter.close()
    assert not (tmp_path / "empty").exists()
