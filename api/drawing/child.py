"""The process that draws: `python -m api.drawing.child`. It ends when its parent has ended or has nothing to draw for a minute.

It has no thread and no handler of signals: while the library draws, Python's lock is held, so only the kernel can end it in time.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
from pathlib import Path

from api.drawing.frames import DRAWN, FAILED, TOO_LARGE, FrameTimeout, NoFrame, read_frame, write_frame
from api.drawing.picture import MAX_HEIGHT, MAX_WIDTH

IDLE_SECONDS = 60
# of processor time for one picture; and of time, on a machine that has other things to do. The kernel's signals end the process,
# also while the library draws and after its parent was killed
PROCESSOR_SECONDS_TO_DRAW = 10
SECONDS_TO_DRAW = 30
# of private memory: the libraries alone reserve 0.6 GB of it, and use a quarter of that
MAX_DATA_BYTES = 2 * 2**30
# the library keeps a little of each picture. Not of getrusage(): its maximum begins with what the parent had when it started this
# process
MAX_RESIDENT_BYTES = 400 * 2**20
MEMORY = Path("/proc/self/statm")
SIZE = re.compile(r'<svg[^>]* width="([\d.]+)" height="([\d.]+)"')


class _TooLarge(Exception):
    """The picture has too many pixels."""


def main() -> None:
    """Draws what standard input asks for, one picture after the other."""
    source, target = os.dup(0), os.dup(1)
    # a library that prints would write into a frame
    os.dup2(2, 1)
    # those that answer requests come first
    os.nice(5)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = MAX_DATA_BYTES if hard == resource.RLIM_INFINITY else min(hard, MAX_DATA_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    # no dump of memory with data of tenants, if the library ends the process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while _resident_bytes() < MAX_RESIDENT_BYTES:
        try:
            _, content = read_frame(source, IDLE_SECONDS)
        except (NoFrame, FrameTimeout):
            return
        _set_timers(PROCESSOR_SECONDS_TO_DRAW, SECONDS_TO_DRAW)
        kind, answer = _answer(content)
        _set_timers(0, 0)
        try:
            write_frame(target, kind, answer)
        except OSError:
            return


def _resident_bytes() -> int:
    """Of this process now; 0 where the system has no /proc."""
    try:
        return int(MEMORY.read_text().split()[1]) * resource.getpagesize()
    except FileNotFoundError:
        return 0


def _set_timers(processor_seconds: float, seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, processor_seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _answer(content: bytes) -> tuple[bytes, bytes]:
    try:
        return DRAWN, _draw(**json.loads(content))
    except _TooLarge as error:
        return TOO_LARGE, str(error).encode()
    # of the library, which has one exception for everything
    except Exception as error:  # noqa: BLE001
        return FAILED, str(error)[:500].encode()


def _draw(document: str, form: str, locale: str, scale: int) -> bytes:
    import vl_convert

    svg = vl_convert.vegalite_to_svg(
        document,
        vl_version="6.4",
        # their types are lists of all names
        format_locale=locale,  # type: ignore[arg-type]
        time_format_locale=locale,  # type: ignore[arg-type]
        # nothing of a document is loaded from elsewhere
        allowed_base_urls=[],
    )
    size = SIZE.match(svg)
    if size is None:
        raise ValueError("the library made no SVG")
    width, height = float(size[1]), float(size[2])
    if height > MAX_HEIGHT or width > 2 * MAX_WIDTH:
        raise _TooLarge(f"A picture is at most {MAX_HEIGHT} pixels high, and this chart would be {width:.0f} x {height:.0f}.")
    return vl_convert.svg_to_png(svg, scale=scale) if form == "png" else svg.encode()


if __name__ == "__main__":
    main()
    # nothing of the library has to be closed
    sys.stdout.flush()
    os._exit(0)
