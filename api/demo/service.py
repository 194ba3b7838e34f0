"""The API as a process of its own: what starts it has threads, and its workers are forked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

from api.demo.greeting import address
from api.errors import ServerError
from api.serving import SECONDS_TO_FINISH
from api.settings import Settings

SECONDS_TO_COME_UP = 60


@contextmanager
def running_service(
    settings: Settings, *, workers: int = 1, environment: Mapping[str, str] | None = None, output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Starts the service, waits until it is ready, and ends it with the block; killed with us, it ends by itself.

    `environment` goes before ours; an empty value is as none. Its log goes to `output`, or where ours goes.

    Raises:
        ServerError: it does not come up.
    """
    arguments = ["-m", "api", "serve", "--with-parent", "--workers", str(workers)]
    with running_server(settings, arguments, environment or {}, output) as process:
        yield process


@contextmanager
def running_server(
    settings: Settings, arguments: Sequence[str], environment: Mapping[str, str], output: IO[bytes] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The same for any program of ours in Python that answers at the settings' address, and at /readyz once it is ready.

    Raises:
        ServerError: it does not come up.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={
            **os.environ,
            "MAILMART_HOME": str(settings.home),
            "MAILMART_HOST": settings.host,
            "MAILMART_PORT": str(settings.port),
            **environment,
        },
        cwd=settings.project_root,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        # a terminal's Ctrl-C is for us alone: the workers would get it twice
        start_new_session=True,
    )
    try:
        _wait_until_ready(settings, process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(SECONDS_TO_FINISH + 5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS_TO_COME_UP
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"the service ended at once (exit status {process.returncode})", hint="It said why above.")
        try:
            urllib.request.urlopen(f"{address(settings)}/readyz", timeout=5).close()  # noqa: S310 - our own address
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise ServerError(f"the service is not ready after {SECONDS_TO_COME_UP} s", hint=f"{address(settings)}/readyz says why.")
