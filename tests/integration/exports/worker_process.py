"""Runs `mailmart worker` in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from api.settings import Settings


def environment(settings: Settings) -> dict[str, str]:
    """The environment variables of a process with these settings."""
    return {**os.environ, "MAILMART_DATABASE_URL": str(settings.database_url), "MAILMART_HOME": str(settings.home)}


@contextmanager
def running_worker(settings: Settings, log: Path, *, concurrency: int = 1, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker while the block runs. It must exit with 0, unless the test killed it or it was stopped during its start."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "mailmart"), "worker", "--concurrency", str(concurrency), "--with-parent"],
            env={**environment(settings), **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
            process.send_signal(signal.SIGCONT)  # a frozen one, if its test failed
        assert process.wait(timeout=60) in (0, -signal.SIGKILL, -signal.SIGTERM), log.read_text()


def wait_for(condition: Callable[[], bool], seconds: float, message: Callable[[], str] = str) -> None:
    """Waits for a condition; fails with the message after some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message()
        time.sleep(0.2)
