"""Schedulers in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.settings import PROJECT_ROOT, Settings

# `mailmart scheduler` of another project than the installed one
SCHEDULER = """
import dataclasses, pathlib, sys
from api.cli import main
from api.settings import Settings

project = pathlib.Path(sys.argv.pop(1))
for_process = Settings.for_process
Settings.for_process = lambda settings, process: dataclasses.replace(for_process(settings, process), project_root=project)
main(["scheduler"])
"""


@contextmanager
def scheduler(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `mailmart scheduler` of the settings' project with its output in the log; kills it at the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", SCHEDULER, str(settings.project_root)],
            env={
                **os.environ,
                "MAILMART_DATABASE_URL": str(settings.database_url),
                "MAILMART_HOME": str(settings.home),
                "PYTHONPATH": str(PROJECT_ROOT),
            },
            cwd=PROJECT_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
