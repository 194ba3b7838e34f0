"""What is sent to PostHog, recorded by a local server; and that no request waits for it."""

from __future__ import annotations

import dataclasses
import gzip
import json
import multiprocessing
import os
import platform
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from api.errors import SettingsError
from api.observability.posthog import CLOSE_TIMEOUT_SECONDS, MAX_ERRORS_PER_SECOND, MAX_QUEUED_EVENTS, Telemetry
from api.server.app import WsgiApp
from api.settings import PROJECT_ROOT, Settings
from tests.integration.api.forwarding import Forwarder

KEY = "phc_of_the_tests"
# seconds; generous, because the machine may be busy
PATIENCE = 30


class Recorder:
    """In place of PostHog: records requests with their headers; it can delay its responses."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], str]] = []
        self.may_respond = threading.Event()
        self.may_respond.set()
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                recorder.requests.append((self.path, dict(self.headers), body.decode()))
                recorder.may_respond.wait(PATIENCE)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for _, _, body in self.requests for event in json.loads(body)["batch"]]

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + PATIENCE
        while len(self.events) < count:
            assert time.monotonic() < deadline, self.events
            time.sleep(0.05)
        return self.events


@contextmanager
def recording() -> Iterator[Recorder]:
    recorder = Recorder()
    thread = threading.Thread(target=recorder.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.may_respond.set()
        recorder.server.shutdown()
        recorder.server.server_close()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as recorder:
        yield recorder


def sending_to(settings: Settings, address: str) -> Settings:
    return dataclasses.replace(settings, posthog_key=KEY, posthog_host=address)


def test_failed_request_is_reported_without_personal_data(settings: Settings, recorder: Recorder) -> None:
    # nothing is published there: 503
    service = WsgiApp(sending_to(settings, recorder.address))
    path = "/api/v1/workspaces/ws_secret/campaigns/cmp_secret/analytics?timeRange=7d&x=secret@example.com"
    headers = {"Authorization": "Bearer mm_secret", "User-Agent": "secret/1", "X-Request-Id": "secret", "Host": "secret.example"}
    assert Client(service).get(path, headers=headers).status_code == 503
    # none of these is reported: they succeed, or are health checks
    for harmless in ("/healthz", "/readyz", "/docs"):
        Client(service).get(harmless)
    (event,) = recorder.wait_for(1)
    service.close()
    assert recorder.events == [event]
    assert event["properties"] == {
        "endpoint": "none",
        "code": "WAREHOUSE_UNAVAILABLE",
        "method": "GET",
        "status": 503,
        "unsent": 0,
        "release": version("mailmart"),
        "$process_person_profile": False,
        "$geoip_disable": True,
        "$ip": None,
        "$is_server": True,
        "$lib": "posthog-python",
        "$lib_version": version("posthog"),
    }
    assert set(event) == {"event", "properties", "timestamp", "distinct_id", "uuid"}
    assert event["event"] == "api_error"
    assert uuid.UUID(event["distinct_id"]).version == 4
    ((path, sent, body),) = recorder.requests
    assert path == "/batch/"
    assert json.loads(body)["api_key"] == KEY
    assert {name.lower() for name in sent} <= {
        *("host", "user-agent", "accept-encoding", "accept", "connection", "content-type", "content-length"),
    }
    assert sent["User-Agent"] == f"posthog-python/{version('posthog')}"
    everything = body + json.dumps(sent)
    about_this_machine = (platform.node(), platform.release(), platform.python_version(), str(PROJECT_ROOT), "secret")
    assert not [word for word in about_this_machine if word in everything]


def test_only_listed_properties_are_sent(settings: Settings, recorder: Recorder) -> None:
    telemetry = Telemetry(sending_to(settings, recorder.address))
    telemetry.capture("export_failed", {"format": "csv", "reason": "cannot write /home/me", "workspace_id": "w", "seconds": 1.5})
    telemetry.capture("no such event", {"reason": "a bug"})
    (event,) = recorder.wait_for(1)
    telemetry.close()
    mine = {name: value for name, value in event["properties"].items() if not name.startswith("$")}
    assert mine == {"format": "csv", "reason": "other", "seconds": 1.5, "release": version("mailmart")}


def test_machines_with_the_same_database_have_the_same_id(settings: Settings, recorder: Recorder, tmp_path: Path) -> None:
    for one in (settings, dataclasses.replace(settings, home=tmp_path / "another machine")):
        telemetry = Telemetry(sending_to(one, recorder.address))
        telemetry.capture("batch_completed", {"is_manual": False, "seconds": 1})
        telemetry.close()
    first, second = [event["distinct_id"] for event in recorder.wait_for(2)]
    assert first == second


def test_many_errors_are_counted_and_not_all_sent(settings: Settings, recorder: Recorder) -> None:
    telemetry = Telemetry(sending_to(settings, recorder.address))
    began = time.monotonic()
    for _ in range(2000):
        telemetry.capture("api_error", {"endpoint": "overview", "code": "INTERNAL_ERROR", "method": "GET", "status": 500})
    seconds = time.monotonic() - began
    telemetry.capture("batch_failed", {"is_manual": False})
    time.sleep(1.1)
    telemetry.capture("api_error", {"endpoint": "overview", "code": "INTERNAL_ERROR", "method": "GET", "status": 500})
    telemetry.close()
    deadline = time.monotonic() + PATIENCE
    while sum(event["properties"].get("unsent", 0) + 1 for event in recorder.events) < 2002:
        assert time.monotonic() < deadline, recorder.events
        time.sleep(0.05)
    errors = [event for event in recorder.events if event["event"] == "api_error"]
    assert len(errors) <= MAX_ERRORS_PER_SECOND * (int(seconds) + 2) + 1
    assert len(recorder.events) == len(errors) + 1


@pytest.mark.parametrize("how", ["refused", "hanging"])
def test_no_request_waits_for_posthog(settings: Settings, recorder: Recorder, how: str) -> None:
    address = recorder.address
    if how == "refused":
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    else:
        recorder.may_respond.clear()
    telemetry = Telemetry(sending_to(settings, address))
    plain, sending = WsgiApp(settings), WsgiApp(settings, telemetry)
    fastest = {service: _fastest(service) for service in (plain, sending)}
    for _ in range(MAX_QUEUED_EVENTS + 500):
        telemetry.capture("export_failed", {"format": "csv"})
    if how == "hanging":
        recorder.wait_for(1)
    fastest[sending] = min(fastest[sending], _fastest(sending))
    # loading the SDK takes a second, a response of PostHog up to five: no request may wait for either
    assert fastest[sending] < fastest[plain] + 0.1
    began = time.monotonic()
    sending.close()
    assert time.monotonic() - began < CLOSE_TIMEOUT_SECONDS + 1
    plain.close()


def _fastest(service: WsgiApp) -> float:
    client, seconds = Client(service), []
    for _ in range(30):
        began = time.perf_counter()
        assert client.get("/api/v1/workspaces/w/analytics/overview").status_code == 503
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def test_process_exits_while_posthog_hangs(settings: Settings, recorder: Recorder) -> None:
    recorder.may_respond.clear()
    program = (
        "import time; from api.settings import Settings; from api.observability.posthog import Telemetry\n"
        "telemetry = Telemetry(Settings.from_environment())\n"
        "telemetry.capture('batch_failed', {'attempts': 3})\n"
        "input()\n"
        "telemetry.close()\n"
    )
    process = _python(program, settings, recorder.address, stdin=subprocess.PIPE)
    recorder.wait_for(1)
    began = time.monotonic()
    process.communicate(b"\n", timeout=PATIENCE)
    assert process.returncode == 0
    # plus time for the interpreter to exit
    assert time.monotonic() - began < CLOSE_TIMEOUT_SECONDS + 5


def test_without_a_key_no_sdk_is_loaded_and_no_thread_started(settings: Settings) -> None:
    program = (
        "import sys, threading\n"
        "from werkzeug.test import Client; from api.server.app import WsgiApp; from api.settings import Settings\n"
        "service = WsgiApp(Settings.from_environment())\n"
        "assert Client(service).get('/api/v1/workspaces/w/analytics/overview').status_code == 503\n"
        "assert 'posthog' not in sys.modules\n"
        "assert 'telemetry' not in [thread.name for thread in threading.enumerate()]\n"
        "service.close()\n"
    )
    process = _python(program, settings, "")
    assert process.wait(PATIENCE) == 0


def _python(program: str, settings: Settings, address: str, stdin: int | None = None) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "MAILMART_DATABASE_URL": str(settings.database_url),
        "MAILMART_HOME": str(settings.home),
        **({"MAILMART_POSTHOG_KEY": KEY, "MAILMART_POSTHOG_HOST": address} if address else {}),
    }
    return subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=PROJECT_ROOT, stdin=stdin)


def test_events_wait_until_the_database_is_available(
    settings: Settings, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.observability.posthog.RETRY_SECONDS", 0.2)
    with Forwarder(str(settings.database_url)) as database:
        telemetry = Telemetry(sending_to(dataclasses.replace(settings, database_url=database.url), recorder.address))
        for _ in range(MAX_QUEUED_EVENTS + 10):
            telemetry.capture("export_completed", {"format": "csv"})
        time.sleep(0.5)
        assert recorder.events == []
        database.start()
        recorder.wait_for(MAX_QUEUED_EVENTS)
        telemetry.close()
    assert len(recorder.events) == MAX_QUEUED_EVENTS


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_process_sends_its_own_events(settings: Settings, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = Telemetry(sending_to(settings, recorder.address))
    telemetry.capture("batch_failed", {"reason": "parent"})
    recorder.wait_for(1)
    is_capturing, may_continue = threading.Event(), threading.Event()
    is_received = multiprocessing.get_context("fork").Event()

    class SlowClock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            is_capturing.set()
            may_continue.wait(PATIENCE)
            return datetime.now(UTC)

    def run() -> None:
        may_continue.set()
        telemetry.capture("batch_failed", {"reason": "child"})
        is_received.wait(PATIENCE)
        telemetry.close()

    # fork while another thread of the parent is inside capture(): the child does not have that thread
    monkeypatch.setattr("api.observability.posthog.datetime", SlowClock)
    thread = threading.Thread(target=telemetry.capture, args=("batch_failed", {"reason": "parent"}))
    thread.start()
    assert is_capturing.wait(PATIENCE)
    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    recorder.wait_for(2)
    is_received.set()
    child.join(PATIENCE)
    assert child.exitcode == 0
    may_continue.set()
    thread.join(PATIENCE)
    recorder.wait_for(3)
    telemetry.close()
    assert [event["properties"]["reason"] for event in recorder.events] == ["parent", "child", "parent"]


def test_unencrypted_posthog_address_is_rejected() -> None:
    with pytest.raises(SettingsError, match="MAILMART_POSTHOG_HOST is not https"):
        Settings.from_environment({"MAILMART_POSTHOG_HOST": "http://posthog.example.com"})
    assert Settings.from_environment({"MAILMART_POSTHOG_KEY": " "}).posthog_key is None
