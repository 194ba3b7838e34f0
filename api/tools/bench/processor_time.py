"""Processor time of an embedded PostgreSQL. On a machine that does other work too, a clock measures the other work as well."""

from __future__ import annotations

import os
from pathlib import Path

from api.embedded.paths import find_folders
from api.embedded.processes import read_pid
from api.errors import MailmartError
from api.settings import Settings

# fields of /proc/PID/stat (proc(5)) after the name of the program
PARENT, UTIME, STIME, CUTIME, CSTIME = 1, 11, 12, 13, 14


def processor_seconds(scratch: Settings) -> float:
    """Processor time of the server since it was started: of all its processes, those that have ended among them.

    Raises:
        MailmartError: the server does not run, or this system has no /proc.
    """
    postmaster = read_pid(find_folders(scratch.home, scratch.server_user).servers / "postgres" / "postmaster.pid")
    fields = _stat(Path(f"/proc/{postmaster}"))
    if fields is None:
        raise MailmartError("the processor time of PostgreSQL cannot be read from /proc")
    ticks = sum(int(fields[field]) for field in (UTIME, STIME, CUTIME, CSTIME))
    for folder in Path("/proc").glob("[0-9]*"):
        child = _stat(folder)
        if child is not None and int(child[PARENT]) == postmaster:
            ticks += int(child[UTIME]) + int(child[STIME])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(folder: Path) -> list[str] | None:
    """The fields after the program's name, which may contain blanks and brackets; None if there is no such process."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
