"""Ends a process without Python's own end, which takes each object apart: a fifth of a second after dbt."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import NoReturn


def end_process(status: int | str | None) -> NoReturn:
    """Ends this process with the status of a SystemExit, after its handlers of exit. Its output is written.

    Only for a process whose threads have ended, or need not.
    """
    if isinstance(status, str):
        print(status, file=sys.stderr)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        # nobody reads it any more
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))
