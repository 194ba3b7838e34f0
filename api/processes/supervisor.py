"""Keeps programs running: starts again what dies, and stops all in order."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from api.processes.parent_death import PARENT

LOG = logging.getLogger(__name__)
FIRST_WAIT = 0.5
MAX_WAIT = 30.0
# who has lived for so long has not died at once
LONG_ENOUGH = 30.0


@dataclass(frozen=True)
class Program:
    """A program to keep running: its name for people, its command line, and how long its orderly end may take."""

    name: str
    argv: Sequence[str]
    seconds_to_stop: float = 30.0


class Child:
    """A program that runs, in a session of its own: a terminal's Ctrl-C is for us alone, and what is left of it has its id."""

    def __init__(
        self, program: Program, environment: Mapping[str, str], folder: Path | None = None, output: IO[bytes] | None = None
    ) -> None:
        self.program = program
        self._process = subprocess.Popen(
            list(program.argv),
            env={**os.environ, **environment, PARENT: str(os.getpid())},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def status(self) -> int | None:
        """None while it runs; then its exit status, or minus the signal that ended it. What it started ends with it."""
        if self._process.returncode is None and self._process.poll() is not None:
            self._end_group()
        return self._process.returncode

    def ask_to_stop(self) -> None:
        """Tells it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """Ends it, and what it has started."""
        self._end_group()
        self._process.wait()

    def stop(self) -> bool:
        """Ends it; whether it did so by itself, in the time that it has for it."""
        self.ask_to_stop()
        try:
            self._process.wait(self.program.seconds_to_stop)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        self._end_group()
        return True

    def _end_group(self) -> None:
        # a server's workers would keep its port, and the next one could not have it
        # mostly there are none; macOS says so with the other error
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


@dataclass
class _Kept:
    """A program and how it fares."""

    program: Program
    child: Child | None = None
    began: float = 0.0
    deaths: int = 0
    start_at: float = 0.0
    kill_at: float | None = None


class Supervisor:
    """Runs programs. Nothing happens by itself: somebody calls `look` a few times a second, and `stop` in the end."""

    def __init__(
        self,
        programs: Sequence[Program],
        environment: Mapping[str, str],
        folder: Path | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        self._kept = [_Kept(program) for program in programs]
        self._environment = environment
        self._folder = folder
        self._output = output

    def look(self) -> None:
        """Notes who has died, and starts whose time has come: everybody's, at first."""
        for kept in self._kept:
            if kept.child is not None:
                self._look_after(kept, kept.child)
            elif time.monotonic() >= kept.start_at:
                self._start(kept)

    def renew(self) -> None:
        """Ends all programs, each in its own time, and `look` starts them anew: what they knew from the start has changed."""
        for kept in self._kept:
            if kept.child is not None and kept.kill_at is None:
                kept.child.ask_to_stop()
                kept.kill_at = time.monotonic() + kept.program.seconds_to_stop

    def stop(self) -> None:
        """Ends all programs, one after the other in their order."""
        for kept in self._kept:
            if kept.child is None or kept.child.status() is not None:
                continue
            if not kept.child.stop():
                LOG.warning(
                    "%s (process %d) did not end in %g s, and was killed",
                    kept.program.name,
                    kept.child.pid,
                    kept.program.seconds_to_stop,
                )
            kept.child = None

    def _start(self, kept: _Kept) -> None:
        kept.began, kept.kill_at = time.monotonic(), None
        try:
            kept.child = Child(kept.program, self._environment, self._folder, self._output)
        except OSError as error:
            # no memory, or no more processes; it may be better later
            self._count_death(kept, f"cannot be started: {error.strerror or error}")
        else:
            LOG.info("%s runs (process %d)", kept.program.name, kept.child.pid)

    def _look_after(self, kept: _Kept, child: Child) -> None:
        status = child.status()
        if status is not None:
            kept.child = None
            if kept.kill_at is None:
                self._count_death(kept, f"(process {child.pid}) {_in_words(status)}")
        elif kept.kill_at is not None and time.monotonic() >= kept.kill_at:
            child.kill()

    def _count_death(self, kept: _Kept, what: str) -> None:
        now = time.monotonic()
        kept.deaths = 1 if now - kept.began >= LONG_ENOUGH else kept.deaths + 1
        wait = wait_after(kept.deaths)
        kept.start_at = now + wait
        LOG.warning("%s %s; it is started again in %g s", kept.program.name, what, wait)


def wait_after(deaths: int) -> float:
    """Seconds until a program is started again that has died so often, each time soon after its start."""
    # an exponent without a bound would be no float one day
    return float(min(FIRST_WAIT * 2 ** min(deaths - 1, 16), MAX_WAIT))


def _in_words(status: int) -> str:
    if status >= 0:
        return f"has ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
