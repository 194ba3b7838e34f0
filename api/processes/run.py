"""A program that runs under us: its lines are read, and it ends when we say so, or with us."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LINES_KEPT = 60
SECONDS_TO_END = 5


@dataclass(frozen=True)
class Ended:
    """How it ended: the exit status, None where we ended it; and the last lines that it said."""

    status: int | None
    last_lines: list[str]


def run_child(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    should_continue: Callable[[], bool],
    show: Callable[[str], None] | None = None,
) -> Ended:
    """Runs it to its end, or ends it as soon as `should_continue` (asked again and again; it waits a moment) says no.

    `show` is called with each line.
    """
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # a terminal's Ctrl-C is for us alone, who end it
        start_new_session=True,
    )
    lines: deque[str] = deque(maxlen=LINES_KEPT)

    def read() -> None:
        for line in process.stdout or ():
            lines.append(line.rstrip("\n"))
            if show is not None:
                show(lines[-1])

    reader = threading.Thread(target=read, name="child's lines", daemon=True)
    reader.start()
    was_ended = False
    try:
        while process.poll() is None:
            if not should_continue():
                was_ended = process.poll() is None
                break
    finally:
        _end(process)
        reader.join(SECONDS_TO_END)
    return Ended(None if was_ended else process.returncode, list(lines))


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
