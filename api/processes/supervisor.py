"""Keeps programs running: restarts those that end, and stops all of them in order."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from api.processes.parent_death import PARENT
from api.processes.restarts import Restarts

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Program:
    """A program to keep running.

    Attributes:
        name: in the log.
        argv: its command line.
        seconds_to_stop: the seconds that it may take to stop.
        hidden: variables of this process that it does not get.
    """

    name: str
    argv: Sequence[str]
    seconds_to_stop: float = 30.0
    hidden: frozenset[str] = frozenset()


class ChildProcess:
    """A running program, in a session of its own.

    Ctrl-C in a terminal then reaches only us, and the processes that the program starts can be killed by its process group.
    """

    def __init__(
        self, program: Program, environment: Mapping[str, str], folder: Path | None = None, output: IO[bytes] | None = None
    ) -> None:
        self.program = program
        self._process = subprocess.Popen(
            list(program.argv),
            env={
                **{name: value for name, value in os.environ.items() if name not in program.hidden},
                **environment,
                PARENT: str(os.getpid()),
            },
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self.pid = self._process.pid

    def status(self) -> int | None:
        """None while it runs; then its exit status, or minus the number of the signal that ended it.

        Kills the processes that an ended program has left.
        """
        if self._process.returncode is None and self._process.poll() is not None:
            self._kill_group()
        return self._process.returncode

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Kills the program and the processes that it has started."""
        self._kill_group()
        self._process.wait()

    def stop(self) -> bool:
        """Stops the program; True if it stopped within its time, False if it had to be killed."""
        self.terminate()
        try:
            self._process.wait(self.program.seconds_to_stop)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        self._kill_group()
        return True

    def _kill_group(self) -> None:
        # workers that a server has left would keep its port, and the next server could not listen on it
        # usually nothing is left; macOS reports that as PermissionError
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


@dataclass
class _Supervised:
    """A program and its state: the process that runs, its restarts, and the monotonic time at which it is killed."""

    program: Program
    child: ChildProcess | None = None
    restarts: Restarts = field(default_factory=Restarts)
    kill_at: float | None = None


class Supervisor:
    """Runs programs. It has no thread: call `poll` a few times a second, and `stop` at the end."""

    def __init__(
        self,
        programs: Sequence[Program],
        environment: Mapping[str, str],
        folder: Path | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        self._supervised = [_Supervised(program) for program in programs]
        self._environment = environment
        self._folder = folder
        self._output = output

    def poll(self) -> None:
        """Notices programs that have ended, and starts those that are due: on the first call, all of them."""
        for supervised in self._supervised:
            if supervised.child is not None:
                self._check(supervised, supervised.child)
            elif supervised.restarts.is_due:
                self._start(supervised)

    def restart_all(self) -> None:
        """Sends SIGTERM to all programs; `poll` starts each again once it has ended. For settings that have changed."""
        for supervised in self._supervised:
            if supervised.child is not None and supervised.kill_at is None:
                supervised.child.terminate()
                supervised.kill_at = time.monotonic() + supervised.program.seconds_to_stop

    def stop(self) -> None:
        """Stops all programs, one after the other, in their order."""
        for supervised in self._supervised:
            if supervised.child is None or supervised.child.status() is not None:
                continue
            if not supervised.child.stop():
                LOG.warning(
                    "%s (process %d) did not stop within %g s and was killed",
                    supervised.program.name,
                    supervised.child.pid,
                    supervised.program.seconds_to_stop,
                )
            supervised.child = None

    def _start(self, supervised: _Supervised) -> None:
        supervised.restarts.start()
        supervised.kill_at = None
        try:
            supervised.child = ChildProcess(supervised.program, self._environment, self._folder, self._output)
        except OSError as error:
            # the machine may be out of memory or processes for a while
            self._schedule_restart(supervised, f"cannot be started: {error.strerror or error}")
        else:
            LOG.info("%s started (process %d)", supervised.program.name, supervised.child.pid)

    def _check(self, supervised: _Supervised, child: ChildProcess) -> None:
        status = child.status()
        if status is not None:
            supervised.child = None
            if supervised.kill_at is None:
                self._schedule_restart(supervised, f"(process {child.pid}) {_exit_text(status)}")
        elif supervised.kill_at is not None and time.monotonic() >= supervised.kill_at:
            child.kill()

    def _schedule_restart(self, supervised: _Supervised, reason: str) -> None:
        delay = supervised.restarts.fail()
        LOG.warning("%s %s; restarting in %g s", supervised.program.name, reason, delay)


def _exit_text(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"ended by signal {-status}"
