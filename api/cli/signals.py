"""The signals that stop a command: Ctrl-C, SIGTERM, and the end of its terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignal:
    """Raises KeyboardInterrupt at the first signal, but not inside `deferred`. Later signals do not interrupt the cleanup.

    Attributes:
        received: a signal has arrived.
    """

    def __init__(self) -> None:
        self.received = False
        self._interrupts = True
        for number in SIGNALS:
            # nohup ignores SIGHUP, and that must stay so; an ignored SIGINT (a background job of a shell) still stops us
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._handle)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """From here on no signal raises: the block checks `received`."""
        self._interrupts = False
        yield

    def _handle(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            # the terminal is closed: writing to it would fail
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, 1)
            os.dup2(devnull, 2)
        interrupts = self._interrupts and not self.received
        self.received = True
        if interrupts:
            raise KeyboardInterrupt
