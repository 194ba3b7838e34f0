"""A process that ends with the one that started it, also when that one is killed without a word."""

from __future__ import annotations

import os
import signal
import threading
import time

# the number of the one that started us; it may be gone before we get to ask for it
PARENT = "MAILMART_PARENT"


def end_with_parent(parent: int | None = None) -> None:
    """Sends ourselves SIGTERM within a second of the death of our parent process; returns at once.

    `parent` is its id, where it is known: it may have died before we look.
    """
    # taken out: it is not the parent of those that we start
    told = os.environ.pop(PARENT, "")
    parent = parent or int(told or os.getppid())

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
