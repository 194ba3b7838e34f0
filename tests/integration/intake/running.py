"""Runs `mailmart intake` in processes of its own, and posts to it."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from api.settings import Settings
from tests.support.ports import free_port


@dataclass(frozen=True)
class Response:
    """A response of the intake."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass
class Intake:
    """A running intake: its port, its main process, and its log file."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    connection: http.client.HTTPConnection | None = field(default=None)

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Response:
        """A request on a connection that is kept."""
        connection = self.connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.connection = connection
        try:
            connection.request(method, path, body=body or None, headers=dict(headers or {}))
            response = connection.getresponse()
            content = response.read()
        except Exception:
            connection.close()
            raise
        found = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, found, orjson.loads(content) if content else {})

    def post(self, path: str, body: object, **headers: str) -> Response:
        """Posts a body: bytes, or what becomes JSON. Headers are named with underscores."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, content, named)


@contextmanager
def receiving(settings: Settings, log: Path, *, workers: int = 1, wait: bool = True, **environment: str) -> Iterator[Intake]:
    """Receives while the block runs. Fails if the intake does not start, or does not exit with status 0."""
    port = free_port()
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "mailmart"), "intake", "--port", str(port), "--workers", str(workers)],
            env={
                **os.environ,
                "MAILMART_DATABASE_URL": str(settings.database_url),
                "MAILMART_HOME": str(settings.home),
                "MAILMART_INTAKE_PUBLIC_URL": "https://hooks.example.com",
                **environment,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    intake = Intake(port, process, log)
    try:
        _wait(intake, "/readyz" if wait else "/healthz")
        yield intake
        process.terminate()
        assert process.wait(timeout=40) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _wait(intake: Intake, path: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            if intake.request("GET", path).status == 200:
                return
        except (OSError, http.client.HTTPException):
            intake.connection = None
        assert time.monotonic() < deadline, intake.log.read_text()
        assert intake.process.poll() is None, intake.log.read_text()
        time.sleep(0.1)
