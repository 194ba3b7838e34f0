"""Runs a child process to its end, reads its output, and ends it on request."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_LINES = 60
STOP_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit status, None if we ended it, and the last lines of its output."""

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
    """Runs a command until it ends, or until `should_continue` returns False. Standard error goes with standard output.

    `should_continue` is called in a loop without a pause, so it must wait a moment itself. `show` gets each line of the output.
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
        # Ctrl-C in a terminal must reach only us; we end the child
        start_new_session=True,
    )
    lines: deque[str] = deque(maxlen=MAX_LINES)

    def read() -> None:
        for line in process.stdout or ():
            lines.append(line.rstrip("\n"))
            if show is not None:
                show(lines[-1])

    reader = threading.Thread(target=read, name="child-output", daemon=True)
    reader.start()
    was_stopped = False
    try:
        while process.poll() is None:
            if not should_continue():
                was_stopped = process.poll() is None
                break
    finally:
        _end(process)
        reader.join(STOP_TIMEOUT_SECONDS)
    return Ended(None if was_stopped else process.returncode, list(lines))


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
