"""`mailmart run` on a database of a cluster, in processes of its own: webhooks go in, and answers come out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from api.settings import PROJECT_ROOT, Settings
from tests.support.ports import free_port
from tests.support.waiting import wait_until

HOUR = 3600


@dataclass(frozen=True)
class Installation:
    """A running `mailmart run`, and its log file."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int
    intake_port: int

    def post_sent(self, path: str, recipients: range) -> None:
        """Posts the events of one delivered and opened message to each recipient: each body twice, as providers do."""
        now = int(time.time())
        for number in recipients:
            body = [
                {
                    "event": event,
                    "email": f"recipient{number}@example.com",
                    "timestamp": now - HOUR + seconds,
                    "sg_event_id": f"{number}-{event}",
                    "sg_message_id": f"m{number}.recvd",
                    "campaign_id": "c1",
                }
                for seconds, event in enumerate(("processed", "delivered", "open"))
            ]
            for _ in range(2):
                status, _answer = _request(f"http://127.0.0.1:{self.intake_port}{path}", json.dumps(body).encode())
                assert status == 200

    def summary(self, workspace: str, key: str) -> Mapping[str, Any]:
        """The summary of a workspace's overview; empty without a publication."""
        url = f"http://127.0.0.1:{self.port}/api/v1/workspaces/{workspace}/analytics/overview?timeRange=7d"
        status, answer = _request(url, headers={"Authorization": f"Bearer {key}"})
        summary: Mapping[str, Any] = answer["data"]["summary"] if status == 200 else {}
        return summary

    def kill_build(self) -> None:
        """Kills the process in which the scheduler's dbt runs a build (SIGKILL)."""
        os.kill(self._building()[0], signal.SIGKILL)

    def is_building(self) -> bool:
        """Whether the scheduler's dbt runs a build."""
        return bool(self._building())

    def _building(self) -> list[int]:
        # the process that stays ready and its child have the same command line
        ready = {
            int(folder.name): int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            for folder in Path("/proc").glob("[0-9]*")
            if b"api.dbt.warm_server" in _command(folder) and self.process.pid in _ancestors(int(folder.name))
        }
        return [pid for pid, parent in ready.items() if parent in ready]


@contextmanager
def installation(settings: Settings, log: Path, build_every: str) -> Iterator[Installation]:
    """Runs everything on the settings' database while the block runs. Fails if it does not start, or does not end in order."""
    # the embedded Valkey runs as another user
    home = Path(tempfile.mkdtemp(prefix="mailmart-citus-"))
    home.chmod(0o755)
    port, intake_port = free_port(), free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAILMART_")}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api", "run"],
            env={
                **inherited,
                "MAILMART_DATABASE_URL": str(settings.database_url),
                "MAILMART_HOME": str(home),
                "MAILMART_PORT": str(port),
                "MAILMART_INTAKE_PORT": str(intake_port),
                "MAILMART_BUILD_EVERY": build_every,
            },
            cwd=PROJECT_ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = Installation(process, log, port, intake_port)
    try:
        for address in (f"http://127.0.0.1:{port}/readyz", f"http://127.0.0.1:{intake_port}/readyz"):
            wait_until(partial(_has_ended_or_is_ready, process, address), f"{address} is ready")
        assert process.poll() is None, log.read_text()
        yield running
    finally:
        process.terminate()
        status = process.wait(90)
        shutil.rmtree(home, ignore_errors=True)
    assert status == 0, log.read_text()


def _has_ended_or_is_ready(process: subprocess.Popen[bytes], address: str) -> bool:
    return process.poll() is not None or _request(address)[0] == 200


def _request(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    content = {"Content-Type": "application/json"} if body else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {**content, **(headers or {})}), timeout=30) as response:
            return response.status, json.loads(response.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, {}
    except OSError:
        return 0, {}


def _command(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return
        yield pid
