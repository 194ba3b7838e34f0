"""Small programs for tests of supervision, and what the tests see of their processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

TIMEOUT_SECONDS = 60

# appends its name and process id to a file when it starts, and its name when it gets SIGTERM
RECORDER = """
import os, signal, sys, time
name, record = sys.argv[1:3]
def append(line):
    with open(record, "a") as file:
        file.write(line + "\\n")
def stop(*_):
    time.sleep(0.3)
    append(f"{name} stops")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
append(f"{name} {os.getpid()}")
while True:
    time.sleep(0.1)
"""
# ignores SIGTERM, and so does its child
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
with open(sys.argv[1], "a") as file:
    file.write(f"{'parent' if child else 'child'} {os.getpid()}\\n")
time.sleep(600)
"""


def until(is_so: Callable[[], object], poll: Callable[[], None] = lambda: None) -> None:
    """Calls `poll` until the condition holds; fails the test after a minute."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        poll()
        time.sleep(0.02)


def recorded_pids(record: Path, name: str) -> list[int]:
    """Ids of the processes with this name that have recorded their start, in order."""
    lines = [line.split() for line in record.read_text().splitlines()]
    return [int(words[1]) for words in lines if words[0] == name and words[1].isdigit()]


def has_ended(pid: int) -> bool:
    """Whether a process has ended; one that its parent has not waited for counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def children(pid: int, word: bytes = b"") -> list[int]:
    """Ids of a process's children whose command line contains `word`."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid and word in (folder / "cmdline").read_bytes():
                pids.append(int(folder.name))
        except OSError:
            continue
    return pids
