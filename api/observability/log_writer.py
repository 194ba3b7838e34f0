"""Writes log lines in a thread, every few milliseconds, so that neither a request nor an event loop waits for the log.

A line that is logged is written within FLUSH_SECONDS, in order. Only a process that is killed (SIGKILL) can lose those of its
last milliseconds: an end by a signal, an exit or an exception writes them first.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import AbstractContextManager
from select import PIPE_BUF
from typing import TextIO

FLUSH_SECONDS = 0.025
# if whoever reads the log is slow: threads wait above it, as they do for a log that is written at once
MAX_WAITING_CHARACTERS = 1024 * 1024


class LogWriter(logging.Handler):
    """A handler for one stream. Lines are formatted at once, so that what they name cannot change before they are written."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []
        self._waiting_characters = 0
        self._has_lines = threading.Event()
        self._write_lock = threading.Lock()
        self._is_closed = False
        threading.Thread(target=self._work, name="log-writer", daemon=True).start()

    @property
    def is_behind(self) -> bool:
        """Whether so many lines wait that a thread that logs waits too. An event loop never waits: it should not log more."""
        return self._waiting_characters > MAX_WAITING_CHARACTERS

    def handle(self, record: logging.LogRecord) -> bool | logging.LogRecord:  # type: ignore[override]
        # before the handler's lock is taken, which the event loop takes too
        if self.is_behind and not _is_on_event_loop():
            self.flush()
        result = super().handle(record)
        # the thread may have ended. Not in emit(), which has the handler's lock: flush() takes it after its own
        if self._is_closed:
            self.flush()
        return result

    def emit(self, record: logging.LogRecord) -> None:
        """Formats a record, for the thread to write."""
        try:
            line = self.format(record) + "\n"
        # logging's own rule: a line that cannot be written never breaks what logs it
        except Exception:  # noqa: BLE001
            self.handleError(record)
            return
        self._lines.append(line)
        self._waiting_characters += len(line)
        if not self._has_lines.is_set():
            self._has_lines.set()

    def flush(self) -> None:
        """Writes all lines that were logged; returns when they are written."""
        with self._write_lock:
            with self._handler_lock():
                lines, self._lines = self._lines, []
            for piece in _pieces(lines):
                try:
                    self._stream.write(piece)
                    self._stream.flush()
                except (OSError, ValueError):
                    # the stream was closed, and there is nowhere to say so
                    break
            with self._handler_lock():
                self._waiting_characters -= sum(map(len, lines))

    def close(self) -> None:
        """Writes the remaining lines. Later lines are written at once."""
        self._is_closed = True
        self._has_lines.set()
        self.flush()
        super().close()

    def _work(self) -> None:
        while not self._is_closed:
            self._has_lines.wait()
            # what is logged meanwhile shares the write
            time.sleep(FLUSH_SECONDS)
            self._has_lines.clear()
            self.flush()

    def _handler_lock(self) -> AbstractContextManager[object]:
        assert self.lock is not None  # noqa: S101 - logging.Handler makes it
        return self.lock


def _is_on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _pieces(lines: list[str]) -> list[str]:
    """The lines, joined as far as a pipe takes them in one piece: other processes may write to the same one."""
    pieces: list[str] = []
    size = 0
    start = 0
    for index, line in enumerate(lines):
        length = len(line.encode(errors="replace"))
        if index > start and size + length > PIPE_BUF:
            pieces.append("".join(lines[start:index]))
            start, size = index, 0
        size += length
    if lines:
        pieces.append("".join(lines[start:]))
    return pieces
