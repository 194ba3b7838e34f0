"""Runs `mailmart serve` in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from api.settings import Settings
from tests.support.ports import free_port


@dataclass(frozen=True)
class Running:
    """A running service: its address, its main process, and its log file."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def serving(settings: Settings, log: Path, *, workers: int = 1, ready: str = "/readyz", **environment: str) -> Iterator[Running]:
    """Serves while the block runs; it begins when the path `ready` is answered.

    Fails if the service does not start, or does not exit with status 0.
    """
    port = free_port()
    with log.open("w") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "mailmart"), "serve", "--port", str(port), "--workers", str(workers)],
            env={
                **os.environ,
                "MAILMART_DATABASE_URL": str(settings.database_url),
                "MAILMART_HOME": str(settings.home),
                "MAILMART_RATE_LIMIT_FACTOR": str(settings.rate_limit_factor),
                **({"MAILMART_REDIS_URL": settings.redis_url} if settings.redis_url else {}),
                **environment,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}{ready}", timeout=5)
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise AssertionError(f"the service does not start:\n{log.read_text()}") from None
                time.sleep(0.1)
        yield Running(address, process, log)
    finally:
        process.terminate()
        # a test may have killed it
        assert process.wait(timeout=90) in (0, -signal.SIGKILL), log.read_text()
