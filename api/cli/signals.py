"""What tells a command to end: Ctrl-C, SIGTERM, and the end of its terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignal:
    """From its making on, the first of them ends what the command does; those after it do not break off the ending.

    Attributes:
        was_told: there was one.
    """

    def __init__(self) -> None:
        self.was_told = False
        self._interrupts = True
        for number in SIGNALS:
            # under nohup the terminal's end is nothing to us; a shell's background job is still ended by a SIGINT that it gets
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._tell)

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Within the block nothing is interrupted: it looks at `was_told`. Nor is anything after it."""
        self._interrupts = False
        yield

    def _tell(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            # writing to it would fail
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        interrupts = self._interrupts and not self.was_told
        self.was_told = True
        if interrupts:
            raise KeyboardInterrupt
