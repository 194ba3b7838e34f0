"""Workers as they are run: `mailmart worker`, in processes of their own."""

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
    """What a process of these settings has in its environment."""
    return {**os.environ, "MAILMART_DATABASE_URL": str(settings.database_url), "MAILMART_HOME": str(settings.home)}


@contextmanager
def working(settings: Settings, log: Path, *, concurrency: int = 1, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker, while the block runs; it ends well, unless it was killed, or told to before it had begun."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "mailmart"), "worker", "--concurrency", str(concurrency), "--with-parent"],
            env={**environment(settings), **more},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        assert process.wait(timeout=60) in (0, -signal.SIGKILL, -signal.SIGTERM), log.read_text()


def wait_for(what: Callable[[], bool], seconds: float, said: Callable[[], str] = str) -> None:
    """Waits until it is so; fails with what is said when it is not in time."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, said()
        time.sleep(0.2)
