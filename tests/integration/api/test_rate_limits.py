"""Rate limits: as the specification has them, right to the request over all processes, and without Valkey as well."""

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
from urllib.parse import urlsplit

import pytest
import redis
from werkzeug.test import Client

from api.auth.api_keys import create_key
from api.auth.rate_limit import Quota, RateLimiter
from api.contract.exposures import read_contract
from api.dbt.manifest import parse_manifest
from api.embedded import valkey
from api.embedded.paths import Folders, find_folders
from api.server.app import Service
from api.settings import Settings
from tests.integration.api.conftest import Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE
from tests.integration.api.metrics import samples
from tests.integration.api.serving import serving
from tests.support.ports import free_port

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
    """A Valkey that runs, its memory empty."""
    with tempfile.TemporaryDirectory(prefix="mailmart-valkey-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o755)
        found = find_folders(Path(home))
        valkey.start(found)
        try:
            yield found
        finally:
            valkey.stop(found)


@pytest.fixture
def limited(warehouse_settings: Settings, folders: Folders) -> Settings:
    """The limits as they are, counted in the Valkey."""
    return dataclasses.replace(warehouse_settings, rate_limit_factor=1, redis_url=f"unix://{valkey.socket_path(folders)}")


def pid_of(folders: Folders) -> int:
    """The process of the Valkey."""
    with redis.Redis(unix_socket_path=str(valkey.socket_path(folders))) as client:
        return int(client.info("server")["process_id"])


def statuses(address: str, key: str, requests: int, threads: int = 8) -> Counter[int]:
    """What so many requests at the same time are answered with."""

    def ask(count: int) -> list[int]:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        found = []
        for _ in range(count):
            connection.request("GET", PATH, headers={"Authorization": f"Bearer {key}"})
            response = connection.getresponse()
            response.read()
            found.append(response.status)
        connection.close()
        return found

    with ThreadPoolExecutor(threads) as pool:
        return Counter(status for part in pool.map(ask, [requests // threads] * threads) for status in part)


def test_the_limits_are_the_specifications(settings: Settings) -> None:
    endpoints = {endpoint.name: endpoint.limit for endpoint in read_contract(parse_manifest(settings))}
    assert LIMITS.items() <= endpoints.items()


def test_two_processes_share_them_right_to_the_request(limited: Settings, tmp_path: Path) -> None:
    key = create_key(limited, WORKSPACE, name="limits")
    with serving(limited, tmp_path / "log", workers=2) as service:
        assert statuses(service.address, key, 160) == {200: 100, 429: 60}


def test_headers_and_the_refusal(limited: Settings) -> None:
    key = create_key(limited, WORKSPACE, name="headers")
    service = Service(limited)
    try:
        caller = Caller(Client(service), key)
        # what is refused for its parameters counts as well; what is not let in does not
        assert Caller(Client(service), "").get(PATH.split("/", 4)[4]).status_code == 401
        first = caller.get(PATH.split("/", 4)[4], groupBy="year")
        assert first.status_code == 422
        assert (first.headers["RateLimit-Limit"], first.headers["RateLimit-Remaining"]) == ("100", "99")
        assert 59 <= int(first.headers["RateLimit-Reset"]) <= 60
        for left in range(98, -1, -1):
            answer = caller.get(PATH.split("/", 4)[4])
            assert answer.status_code == 200
            assert answer.headers["RateLimit-Remaining"] == str(left)
            assert "Retry-After" not in answer.headers
        refused = caller.get(PATH.split("/", 4)[4])
        assert refused.status_code == 429
        assert refused.get_json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
        assert refused.headers["RateLimit-Remaining"] == "0"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"]
        # each endpoint has its own
        other = caller.get(f"{WORKSPACE}/analytics/overview")
        assert (other.status_code, other.headers["RateLimit-Limit"], other.headers["RateLimit-Remaining"]) == (200, "60", "59")
    finally:
        service.close()


def test_another_workspace_has_its_own(limited: Settings) -> None:
    limits = RateLimiter(limited)
    assert [limits.take("mine", "toy", 2).counts for _ in range(3)] == [True, True, False]
    assert limits.take("theirs", "toy", 2) == Quota(counts=True, limit=2, remaining=1, reset=60)
    limits.close()


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "alone"])
def test_a_limit_that_was_lowered(limited: Settings, is_shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.rate_limit.WINDOW_SECONDS", 10)
    limits = RateLimiter(limited if is_shared else dataclasses.replace(limited, redis_url="unix:///nowhere/valkey.sock"))
    for _ in range(4):
        assert limits.take("lowered", "toy", 5).counts
        time.sleep(1)
    # the third of the four has to leave before another one counts, not the first
    assert limits.take("lowered", "toy", 2) == Quota(counts=False, limit=2, remaining=0, reset=8)
    limits.close()


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "alone"])
def test_no_minute_has_more(limited: Settings, is_shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # not only from one full minute to the next: a place comes back when the request that took it is a window old
    monkeypatch.setattr("api.auth.rate_limit.WINDOW_SECONDS", 1)
    limits = RateLimiter(limited if is_shared else dataclasses.replace(limited, redis_url="unix:///nowhere/valkey.sock"))
    moments: list[float] = []
    end = time.monotonic() + 3.3
    while time.monotonic() < end:
        before = time.monotonic()
        if limits.take("w", "toy", 5).counts:
            moments.append(before)
        time.sleep(0.01)
    limits.close()
    assert 15 <= len(moments) <= 20
    # our clock is read before the count's: a little slack
    assert all(moments[place + 5] - moments[place] > 0.98 for place in range(len(moments) - 5))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
def test_without_valkey_each_process_counts_and_with_it_all_share_again(
    limited: Settings, folders: Folders, end: signal.Signals, tmp_path: Path
) -> None:
    limited = dataclasses.replace(limited, rate_limit_factor=1000)
    key = create_key(limited, WORKSPACE, name="outage")
    seen: Counter[int] = Counter()
    stop = threading.Event()
    port = free_port()
    with serving(limited, tmp_path / "log", workers=2, MAILMART_METRICS_PORT=str(port)) as service:

        def load() -> None:
            while not stop.is_set():
                seen.update(statuses(service.address, key, 40, threads=4))

        thread = threading.Thread(target=load)
        thread.start()
        try:
            time.sleep(1)
            pid = pid_of(folders)
            os.kill(pid, end)
            time.sleep(2)
            during = seen.total()
            assert samples(port)["mailmart_rate_limit_backend_up"] == 0
            time.sleep(1.5)
            # it goes on, and is not held up for long by one that hangs
            assert seen.total() > during + 100
            if end == signal.SIGSTOP:
                os.kill(pid, signal.SIGCONT)
            else:
                valkey.start(folders)
            time.sleep(2.5)
        finally:
            stop.set()
            thread.join()
        assert set(seen) == {200}
        assert samples(port)["mailmart_rate_limit_backend_up"] == 1
        said = service.log.read_text()
        assert "rate limits are counted by each process alone" in said
        assert "rate limits are shared again" in said
        counted = count_in(folders)
        assert statuses(service.address, key, 40) == {200: 40}
        assert count_in(folders) == counted + 40


def count_in(folders: Folders) -> int:
    """Requests that the Valkey has counted."""
    with redis.Redis(unix_socket_path=str(valkey.socket_path(folders))) as client:
        return int(client.llen(f"mailmart:limit:campaign_analytics:{WORKSPACE}"))


def test_alone_the_limits_still_hold(limited: Settings, folders: Folders) -> None:
    valkey.stop(folders)
    key = create_key(limited, WORKSPACE, name="alone")
    service = Service(limited)
    try:
        caller = Caller(Client(service), key)
        found = Counter(caller.get(f"{WORKSPACE}/analytics/deliverability").status_code for _ in range(33))
        assert found == {200: 30, 429: 3}
    finally:
        service.close()


def test_without_any_server_configured_each_process_counts(settings: Settings, tmp_path: Path) -> None:
    # a database of the operator's own, no Redis, and no embedded servers
    limits = RateLimiter(dataclasses.replace(settings, rate_limit_factor=1, home=tmp_path / "nothing"))
    assert [limits.take("w", "toy", 2).counts for _ in range(3)] == [True, True, False]
    limits.close()
    assert not (tmp_path / "nothing").exists()
