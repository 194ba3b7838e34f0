"""Whether a process whose number a file remembers is still the one that is meant."""

from __future__ import annotations

import os
from pathlib import Path


def works_in(pid: int, folder: Path) -> bool:
    """Whether process `pid` is alive and has `folder` as its working folder, as both servers have their own.

    A number alone does not tell: after a crash or a restart of the machine another program may have come by it, and the
    folder of a copied project remembers the original's. Where the system does not show working folders, being alive counts.
    """
    try:
        if Path("/proc/self/cwd").exists():
            return Path(f"/proc/{pid}/cwd").samefile(folder)
        os.kill(pid, 0)
    except OSError:
        # gone, or of another user, as whom ours never run
        return False
    return True


def remembered_pid(path: Path) -> int | None:
    """The number in the first line of a file; None where there is none."""
    try:
        return int(path.read_text().split("\n")[0])
    except (FileNotFoundError, ValueError):
        return None
