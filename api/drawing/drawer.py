"""Has pictures drawn by a process that is started when it is needed, and ends when it is not."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from typing import IO

from api.drawing.child import SECONDS_TO_DRAW
from api.drawing.frames import DRAW, DRAWN, TOO_LARGE, FrameTimeout, NoFrame, read_frame, write_frame
from api.drawing.picture import Picture, TooLargeToDraw
from api.settings import PROJECT_ROOT

LOG = logging.getLogger(__name__)
SECONDS_TO_ANSWER = SECONDS_TO_DRAW + 5.0
# to wait for the pictures before this one
SECONDS_TO_WAIT = 5.0
# the process gets nothing else of our environment, which has passwords
ENVIRONMENT = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "XDG_CACHE_HOME", "FONTCONFIG_FILE", "FONTCONFIG_PATH")


class DrawerBusy(Exception):
    """Other pictures are being drawn."""


class DrawingFailed(Exception):
    """The library cannot draw the picture, or its process died; the log says why."""


class Drawer:
    """Draws one picture at a time; for all threads of a process."""

    def __init__(self, *, max_callers: int = 2, seconds_to_wait: float = SECONDS_TO_WAIT) -> None:
        """At most `max_callers` draw or wait; more of them are refused at once, so that the threads of a server stay free."""
        self._seconds_to_wait = seconds_to_wait
        self._callers = threading.BoundedSemaphore(max_callers)
        self._turn = threading.Lock()
        self._child: _Child | None = None

    def draw(self, picture: Picture) -> bytes:
        """The picture as SVG or PNG.

        Raises:
            DrawerBusy: other pictures are being drawn.
            TooLargeToDraw: it would have too many pixels.
            DrawingFailed: it cannot be drawn.
        """
        if not self._callers.acquire(blocking=False):
            raise DrawerBusy
        try:
            if not self._turn.acquire(timeout=self._seconds_to_wait):
                raise DrawerBusy
            try:
                return self._draw(picture)
            finally:
                self._turn.release()
        finally:
            self._callers.release()

    def close(self) -> None:
        """Ends the process, if it runs; the next picture starts another one."""
        child, self._child = self._child, None
        if child is not None:
            child.end()
            child.error_output()

    @property
    def process_id(self) -> int | None:
        """Of the process that draws; None if none runs."""
        child = self._child
        return child.process.pid if child is not None and child.process.poll() is None else None

    def _draw(self, picture: Picture) -> bytes:
        content = json.dumps(
            {
                "document": json.dumps(picture.document),
                "form": picture.format,
                "locale": picture.locale,
                "scale": picture.scale,
            }
        ).encode()
        # a process that had nothing to do may end at this moment: then another one draws
        kind, answer = self._ask(content, can_retry=self._child is not None) or self._ask(content, can_retry=False) or (b"", b"")
        if kind == DRAWN:
            return answer
        if kind == TOO_LARGE:
            raise TooLargeToDraw(answer.decode())
        LOG.warning("a chart cannot be drawn: %s", answer.decode(errors="replace"))
        raise DrawingFailed

    def _ask(self, content: bytes, *, can_retry: bool) -> tuple[bytes, bytes] | None:
        """The response; None if the process had ended before it received the picture, and `can_retry`.

        Raises:
            DrawingFailed: it ended at the picture, or did not answer in time.
        """
        child = self._child
        if child is not None and child.process.poll() is not None:
            # after a minute without a picture
            child.end()
            child.error_output()
            child = None
        if child is None:
            try:
                child = self._child = _Child()
            except OSError as error:
                LOG.warning("the process that draws charts cannot be started: %s", error)
                raise DrawingFailed from error
        try:
            write_frame(child.stdin, DRAW, content)
            return read_frame(child.stdout, SECONDS_TO_ANSWER)
        except (OSError, NoFrame, FrameTimeout) as error:
            status, words = child.end(), child.error_output()
            self._child = None
            if can_retry and status == 0:
                return None
            reason = "was too slow" if isinstance(error, FrameTimeout) else f"ended with status {status}"
            LOG.warning("the process that draws charts %s: %s", reason, words)
            raise DrawingFailed from error
        except BaseException:
            # half a frame would be read as the next picture
            child.end()
            child.error_output()
            self._child = None
            raise


class _Child:
    """The process that draws."""

    def __init__(self) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "api.drawing.child"],
                cwd=PROJECT_ROOT,
                env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
            )
        except OSError:
            self._errors.close()
            raise
        assert self.process.stdin is not None  # noqa: S101 - they are pipes
        assert self.process.stdout is not None  # noqa: S101
        self.stdin, self.stdout = self.process.stdin.fileno(), self.process.stdout.fileno()
        # so that no zombie is left of one that ended by itself
        threading.Thread(target=self.process.wait, name="chart-drawer", daemon=True).start()

    def end(self) -> int:
        """Ends the process, and returns its exit status; one that ended by itself keeps its own."""
        with suppress(OSError):
            self.process.stdin.close()  # type: ignore[union-attr]
        try:
            status = self.process.wait(0.2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        with suppress(OSError):
            self.process.stdout.close()  # type: ignore[union-attr]
        return status

    def error_output(self) -> str:
        """The end of its error output, on one line. Call it once, after the process has ended."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(size - 2000, 0))
        lines = self._errors.read().decode(errors="replace").split("\n")
        self._errors.close()
        return " ".join(line.strip() for line in lines if "panicked" in line or "Failed" in line or "Error" in line)[:500]
