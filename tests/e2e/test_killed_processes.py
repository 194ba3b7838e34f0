"""All processes of `mailmart run` are killed: every export completes or fails with a message, and none is stuck.

Each is killed MAILMART_TEST_PROCESS_KILLS times, at random times during MAILMART_TEST_EXPORTS exports and a nightly run.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import http.client
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from psycopg.rows import dict_row

from api.auth.api_keys import create_key
from api.db.connection import connect
from api.db.migrate import migrate
from api.embedded import servers
from api.embedded.paths import find_folders
from api.embedded.processes import read_pid
from api.exports.cleanup import clean_up
from api.exports.formats import FORMATS
from api.exports.storage import storage_of
from api.settings import PROJECT_ROOT, Settings
from api.tools.synthetic.generate import GenerateOptions, generate
from tests.support.dbt import WITHOUT_UNIT_TESTS, run_dbt
from tests.support.ports import free_port

KILLS = int(os.environ.get("MAILMART_TEST_PROCESS_KILLS", "1"))
EXPORTS = int(os.environ.get("MAILMART_TEST_EXPORTS", "20"))
WORKSPACES = ("ws_demo_1", "ws_demo_2", "ws_demo_3")
TYPES = ("messages", "campaign_performance", "deliverability", "engagement_heatmap", "workspace_overview")
KINDS = ("serve", "worker", "scheduler", "postgres", "valkey")
SECONDS_BETWEEN_KILLS = 2.0
SECONDS_TO_END = 420
pytestmark = pytest.mark.timeout(900 + KILLS * 120)


@pytest.fixture
def installation() -> Iterator[Settings]:
    """Embedded servers with events and a publication; the nightly run is due within a minute."""
    home = Path(tempfile.mkdtemp(prefix="mailmart-killed-"))
    home.chmod(0o755)
    settings = Settings(database_url=None, redis_url=None, home=home, port=free_port())
    try:
        servers.start(settings)
        migrate(settings)
        generate(settings, GenerateOptions(workspaces=3, messages=20_000, days=40))
        run_dbt(settings, *WITHOUT_UNIT_TESTS)
        soon = (datetime.now(UTC) + timedelta(minutes=1)).time().replace(second=0, microsecond=0)
        yield dataclasses.replace(settings, nightly_at=soon)
    finally:
        servers.stop(settings)
        folders = find_folders(home)
        for folder in (folders.servers, folders.sockets, home):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`mailmart run` while the block runs; it must stop in order."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAILMART_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api", "run", "--concurrency", "2"],
            env={
                **inherited,
                "MAILMART_HOME": str(settings.home),
                "MAILMART_PORT": str(settings.port),
                "MAILMART_RATE_LIMIT_FACTOR": "1000000",
                "MAILMART_NIGHTLY_AT": settings.nightly_at.strftime("%H:%M"),
            },
            cwd=PROJECT_ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(120) == 0, log.read_text()[-5000:]


class Client:
    """An HTTP client that repeats its requests while the service is unavailable."""

    def __init__(self, settings: Settings, keys: dict[str, str]) -> None:
        self._address = f"http://127.0.0.1:{settings.port}"
        self._keys = keys

    def call(self, workspace: str, method: str, path: str, body: Any = None, key: str = "") -> dict[str, Any]:
        """The data of a response."""
        headers = {"Authorization": f"Bearer {self._keys[workspace]}", "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        request = urllib.request.Request(
            f"{self._address}/api/v1/workspaces/{workspace}/analytics/{path}",
            method=method,
            headers=headers,
            data=orjson.dumps(body) if body is not None else None,
        )
        data: dict[str, Any] = orjson.loads(self.read(request))["data"]
        return data

    def read(self, request: urllib.request.Request | str) -> bytes:
        """The body of a 2xx response, which may take a few tries."""
        deadline = time.monotonic() + 180
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    content: bytes = response.read()
                    return content
            except urllib.error.HTTPError as error:
                # 503 is the only error that an unavailable database may cause
                if error.code != 503:
                    raise AssertionError(error.read()) from error
            except (OSError, http.client.HTTPException):
                pass
            assert time.monotonic() < deadline, "the service does not respond"
            time.sleep(0.3)


def pid_of(settings: Settings, kind: str) -> int | None:
    """The process of a kind that runs now."""
    folders = find_folders(settings.home)
    if kind == "valkey":
        return read_pid(folders.servers / "valkey.pid")
    if kind == "postgres":
        path = next(folders.servers.glob("**/postmaster.pid"), None)
        return read_pid(path) if path else None
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            is_ours = f"MAILMART_HOME={settings.home}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if is_ours and arguments[1:4] == [b"-m", b"api", kind.encode()]:
                return int(folder.name)
    return None


def kill(settings: Settings, kind: str, log: Path) -> None:
    """Kills the process of a kind, as soon as it runs."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        pid = pid_of(settings, kind)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return
        time.sleep(0.1)
    raise AssertionError(f"{kind} did not come back:\n{log.read_text()[-5000:]}")


def test_no_export_is_lost(installation: Settings, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    log = tmp_path / "log"
    keys = {name: create_key(installation, name, name="kills", scopes=("read", "export")) for name in WORKSPACES}
    client = Client(installation, keys)
    requested: dict[str, tuple[str, dict[str, Any]]] = {}

    def request_exports() -> None:
        for number in range(EXPORTS):
            body = {
                "export_type": TYPES[number % len(TYPES)],
                "format": list(FORMATS)[number // len(TYPES) % len(FORMATS)],
                "time_range": "30d",
            }
            workspace = WORKSPACES[number % len(WORKSPACES)]
            data = client.call(workspace, "POST", "export", body, key=f"once-{number}")
            assert data["export_id"] not in requested
            requested[data["export_id"]] = (workspace, body)

    with running(installation, log):
        client.call(WORKSPACES[0], "GET", "freshness")
        problems: list[str] = []
        requesting = threading.Thread(target=_recording(request_exports, problems))
        requesting.start()
        kills = [kind for kind in KINDS for _ in range(KILLS)]
        chance.shuffle(kills)
        for kind in kills:
            time.sleep(chance.random() * 2 * SECONDS_BETWEEN_KILLS)
            kill(installation, kind, log)
        requesting.join(SECONDS_TO_END)
        assert problems == [], (seed, problems)
        assert len(requested) == EXPORTS
        ended = _all_ended(client, requested, log, seed)
        _check_publication(installation, log, seed)
        for export_id, status in ended.items():
            if status["status"] == "completed":
                content = client.read(client.call(requested[export_id][0], "GET", f"exports/{export_id}")["download_url"])
                assert (len(content), hashlib.sha256(content).hexdigest()) == (status["file_size_bytes"], status["sha256"]), seed
                if status["format"] == "csv":
                    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
                    assert len(rows) == status["row_count"] + 1, seed
                    assert len({len(row) for row in rows}) == 1, seed
            else:
                assert status["error"]["message"].startswith("Failed to generate export: "), (seed, status)
    with_file = [export_id for export_id, status in ended.items() if status["status"] == "completed"]
    _check_files(installation, with_file, seed)
    print(f"seed {seed}: {len(kills)} kills, {Counter(status['status'] for status in ended.values())}")


def _recording(work: Callable[[], None], problems: list[str]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        except Exception as error:
            problems.append(repr(error))

    return run


def _all_ended(
    client: Client, requested: dict[str, tuple[str, dict[str, Any]]], log: Path, seed: int
) -> dict[str, dict[str, Any]]:
    deadline = time.monotonic() + SECONDS_TO_END
    while True:
        statuses = {export_id: client.call(of[0], "GET", f"exports/{export_id}") for export_id, of in requested.items()}
        stuck = [status for status in statuses.values() if status["status"] == "processing"]
        if not stuck:
            return statuses
        assert time.monotonic() < deadline, (seed, stuck, log.read_text()[-5000:])
        time.sleep(2)


def _check_publication(settings: Settings, log: Path, seed: int) -> None:
    """The nightly run succeeds or uses up its attempts, and the current publication is of a published build."""
    deadline = time.monotonic() + SECONDS_TO_END
    while True:
        with connect(settings, "mailmart_owner") as connection:
            runs = connection.execute("select status, attempts from app.nightly_runs").fetchall()
            published = connection.execute(
                "select batches.status from app.current_publication as publication"
                " inner join app.batches as batches on publication.batch_id = batches.batch_id"
            ).fetchall()
        assert published == [("published",)], (seed, published)
        if runs and all(status != "running" for status, _ in runs):
            break
        assert time.monotonic() < deadline, (seed, runs, log.read_text()[-5000:])
        time.sleep(2)
    assert all(status == "succeeded" or attempts == 3 for status, attempts in runs), (seed, runs)


def _check_files(settings: Settings, with_file: list[str], seed: int) -> None:
    """Each completed export has one file, no other export has one, and each had at most three attempts."""
    with connect(settings, "mailmart_worker") as connection:
        connection.execute("update app.exports set completed_at = completed_at - interval '2 hours' where status <> 'completed'")
        connection.commit()
        clean_up(settings, storage_of(settings))
        rows = connection.cursor(row_factory=dict_row).execute("select * from app.exports").fetchall()
    files = sorted(str(path.relative_to(settings.home / "exports")) for path in (settings.home / "exports").glob("*/*"))
    assert files == sorted(row["storage_key"] for row in rows if row["status"] == "completed"), seed
    assert sorted(with_file) == sorted(row["export_id"] for row in rows if row["status"] == "completed")
    assert all(row["attempts"] <= 3 for row in rows), seed
    assert all(row["attempts"] == 3 for row in rows if row["status"] == "failed"), (seed, rows)
