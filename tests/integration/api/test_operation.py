"""Operations: log lines, metrics, graceful shutdown, and a database outage."""

from __future__ import annotations

import dataclasses
import http.client
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from psycopg.conninfo import make_conninfo

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.db.migrate import migrate
from api.embedded import postgres, servers
from api.embedded.paths import find_folders
from api.settings import Settings, embedded_database_url
from tests.integration.api.example import CAMPAIGN, WORKSPACE
from tests.integration.api.metrics import samples
from tests.integration.api.publishing import publish_empty_contract
from tests.integration.api.serving import Running, serving
from tests.support.ports import free_port
from tests.support.waiting import wait_until

PATH = f"/api/v1/workspaces/{WORKSPACE}/campaigns/{CAMPAIGN}/analytics"


@dataclasses.dataclass(frozen=True)
class HttpResponse:
    """A status, headers by lower-case name, and a body."""

    status: int
    headers: dict[str, str]
    body: bytes


def get(address: str, key: str, path: str = PATH, **headers: str) -> HttpResponse:
    """GET over a new connection."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=40)
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}", **headers})
    response = connection.getresponse()
    result = HttpResponse(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    connection.close()
    return result


def lines(service: Running) -> list[dict[str, Any]]:
    """The JSON objects of the log."""
    return [orjson.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]


def test_log_lines_and_metrics_cover_all_processes(warehouse_settings: Settings, key: str, tmp_path: Path) -> None:
    port = free_port()
    with serving(warehouse_settings, tmp_path / "log", workers=2, MAILMART_METRICS_PORT=str(port)) as service:
        for _ in range(40):
            response = get(service.address, key, **{"X-Request-Id": "mine-1"})
            assert response.status == 200
        assert get(service.address, key, **{"If-None-Match": response.headers["etag"]}).status == 304
        assert get(service.address, "nobody's").status == 401
        assert get(service.address, key, path="/nowhere").status == 404
        metrics = samples(port)
        log = lines(service)
    mine = [line for line in log if line.get("request_id") == "mine-1"]
    assert len(mine) == 40
    assert {line["workspace_id"] for line in mine} == {WORKSPACE}
    assert {line["endpoint"] for line in mine} == {"campaign_analytics"}
    first = next(line for line in mine if line["source"] == "warehouse")
    assert 0 < first["query_seconds"] <= first["seconds"] < 30
    assert any(line["source"] == "cache" for line in mine)
    assert key not in service.log.read_text()
    requests = 'mailmart_requests_total{endpoint="campaign_analytics",method="GET",status="%d"}'
    assert (metrics[requests % 200], metrics[requests % 304]) == (40, 1)
    assert metrics['mailmart_request_seconds_count{endpoint="campaign_analytics"}'] >= 41
    assert metrics['mailmart_responses_total{source="client"}'] == 1
    # the warehouse is a copy of one whose first batch is empty
    assert metrics["mailmart_published_batch"] == 2
    assert metrics["mailmart_data_as_of_timestamp_seconds"] > time.time() - 3600
    # neither tenants nor other texts from clients are labels
    assert not any(WORKSPACE in name or "nowhere" in name for name in metrics)


def test_used_metrics_port_is_reported_in_one_line(warehouse_settings: Settings, tmp_path: Path) -> None:
    port = free_port()
    with (
        serving(warehouse_settings, tmp_path / "one", MAILMART_METRICS_PORT=str(port)),
        pytest.raises(AssertionError, match=f"cannot serve metrics on 127.0.0.1:{port}"),
        serving(warehouse_settings, tmp_path / "two", MAILMART_METRICS_PORT=str(port)),
    ):
        pass


def test_shutdown_finishes_running_requests(warehouse_settings: Settings, key: str, tmp_path: Path) -> None:
    responses: list[HttpResponse] = []
    with serving(warehouse_settings, tmp_path / "log", MAILMART_RESPONSE_CACHE_MB="0") as service:
        assert get(service.address, key).status == 200
        with connect(warehouse_settings, "mailmart_owner") as connection:
            connection.execute("lock table core.fct_campaign_days in access exclusive mode")
            request = threading.Thread(target=lambda: responses.append(get(service.address, key)))
            request.start()
            time.sleep(1)
            service.process.send_signal(signal.SIGTERM)
            time.sleep(1)
            assert responses == []
        request.join(timeout=30)
        assert service.process.wait(timeout=30) == 0
    assert [response.status for response in responses] == [200]


def test_a_stopped_service_closes_its_connections(warehouse_settings: Settings, key: str, tmp_path: Path) -> None:
    query = (
        "select sessions_abandoned, (select count(*) from pg_stat_activity where datname = current_database())"
        " from pg_stat_database where datname = current_database()"
    )
    with connect(warehouse_settings, None, autocommit=True) as observer:
        before = observer.execute(query).fetchone()
        assert before is not None
        with serving(warehouse_settings, tmp_path / "log") as service:
            assert get(service.address, key).status == 200
        # the number of abandoned sessions counts those that have ended
        wait_until(lambda: (observer.execute(query).fetchone() or (0, 0))[1] <= before[1], "the service's sessions end")
        after = observer.execute(query).fetchone()
    assert after is not None
    assert after[0] == before[0]


@pytest.fixture
def own_server() -> Iterator[Settings]:
    """A PostgreSQL of this test's own, which it can stop."""
    home = Path(tempfile.mkdtemp(prefix="mailmart-outage-"))
    home.chmod(0o755)
    settings = Settings(database_url=None, redis_url=None, home=home, rate_limit_factor=1_000_000)
    try:
        servers.start(settings)
        migrate(settings)
        yield settings
    finally:
        servers.stop(settings)
        shutil.rmtree(home, ignore_errors=True)


def test_service_survives_a_database_outage(own_server: Settings, tmp_path: Path) -> None:
    key = create_key(own_server, "w", name="outage")
    folders = find_folders(own_server.home)
    port = free_port()
    log = tmp_path / "log"
    settings = dataclasses.replace(own_server, database_url=_url(own_server))
    with connect(own_server, "mailmart_owner") as connection:
        publish_empty_contract(connection)
    with serving(settings, log, MAILMART_METRICS_PORT=str(port)) as service:
        assert get(service.address, key, "/readyz").status == 200
        postgres.stop(folders)
        time.sleep(1.5)
        # after the first failure, one request at a time tries the database and no other waits
        get(service.address, key, "/readyz")
        began = time.monotonic()
        with ThreadPoolExecutor(24) as clients:
            pending = [clients.submit(get, service.address, key, "/readyz") for _ in range(24)]
            time.sleep(0.2)
            assert get(service.address, key, "/healthz").status == 200
            assert time.monotonic() - began < 2
        assert time.monotonic() - began < 8
        for unavailable in (future.result() for future in pending):
            assert (unavailable.status, orjson.loads(unavailable.body)["error"]["code"]) == (503, "WAREHOUSE_UNAVAILABLE")
            assert int(unavailable.headers["retry-after"]) >= 1
        metrics = samples(port)
        assert metrics["mailmart_database_up"] == 0
        assert metrics['mailmart_requests_total{endpoint="none",method="GET",status="503"}'] == 25
        postgres.start(folders)
        deadline = time.monotonic() + 60
        while get(service.address, key, "/readyz").status != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert service.process.poll() is None
        assert not re.search(r'"status":500', log.read_text())
        # metrics of the database are cached for a second, failures too
        while (metrics := samples(port))["mailmart_database_up"] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert metrics['mailmart_exports{status="processing"}'] == 0


def _url(settings: Settings) -> str:
    return make_conninfo(embedded_database_url(settings.home))
