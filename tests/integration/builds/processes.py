"""Schedulers in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.settings import Settings


@contextmanager
def scheduler(settings: Settings, log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `mailmart scheduler` with its output in the log; kills it at the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api", "scheduler", *arguments],
            env={**os.environ, "MAILMART_DATABASE_URL": str(settings.database_url), "MAILMART_HOME": str(settings.home)},
            cwd=settings.project_root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
