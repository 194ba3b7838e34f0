"""Finds a server by the process id in its file."""

from __future__ import annotations

import os
from pathlib import Path


def runs_in(pid: int, folder: Path) -> bool:
    """Whether process `pid` is alive and has `folder` as its working folder, as each of the servers has its own.

    An id alone proves nothing: after a crash another program may have the same id, and the copy of a home folder has the ids of
    the original's servers. If the system does not show working folders (macOS), a living process is enough.
    """
    try:
        if Path("/proc/self/cwd").exists():
            return Path(f"/proc/{pid}/cwd").samefile(folder)
        os.kill(pid, 0)
    except OSError:
        # ended, or another user's: our servers never run as another user
        return False
    return True


def read_pid(path: Path) -> int | None:
    """The process id in the first line of a file; None if it has no number."""
    try:
        return int(path.read_text().split("\n")[0])
    except (FileNotFoundError, ValueError):
        return None
