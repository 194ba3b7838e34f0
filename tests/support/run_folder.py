"""The folder that all processes of one test run share. Imports nothing but the standard library: every test pays for it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

VARIABLE = "MAILMART_TEST_RUN"
# the run's main process holds a lock on this file as long as it lives
ALIVE = "alive"
MAX_SECONDS_TO_STOP = 60


def run_folder() -> Path:
    """The run's folder."""
    return Path(os.environ[VARIABLE])


def once_per_run(name: str, make: Callable[[], None]) -> None:
    """Calls `make` in one of the run's processes; the others wait until it has returned. If it raises, the next one tries."""
    folder = run_folder()
    done = folder / f"{name}.done"
    with (folder / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make()
            done.touch()


def is_running() -> bool:
    """Whether the run's main process lives."""
    try:
        alive = (run_folder() / ALIVE).open()
    except FileNotFoundError:
        return False
    with alive:
        try:
            fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def make_run_folder() -> Callable[[], None]:
    """Makes the run's folder, and names it in the environment, which the other processes inherit.

    Returns what removes the folder, with the server that was started in it.
    """
    folder = Path(tempfile.mkdtemp(prefix="mailmart-tests-"))
    # as root, the server runs as another user, who must be able to reach its data
    folder.chmod(0o755)
    alive = (folder / ALIVE).open("a")
    fcntl.flock(alive, fcntl.LOCK_EX)
    os.environ[VARIABLE] = str(folder)

    def remove() -> None:
        del os.environ[VARIABLE]
        alive.close()
        if not (folder / "server.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            return
        # the process that started the server stops it, and removes the folder
        deadline = time.monotonic() + MAX_SECONDS_TO_STOP
        while folder.exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    return remove
