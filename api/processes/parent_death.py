"""Ends a process when its parent ends, even if the parent is killed."""

from __future__ import annotations

import os
import signal
import threading
import time

# environment variable with the parent's process id: the parent may end before the child can ask for it
PARENT = "MAILMART_PARENT"


def end_with_parent(parent: int | None = None) -> None:
    """Sends this process SIGTERM within a second of its parent's end. Returns at once.

    `parent` is the parent's process id; by default the one in MAILMART_PARENT, or the current parent.
    """
    # removed: this process is not the parent of the processes that it starts
    from_environment = os.environ.pop(PARENT, "")
    parent = parent or int(from_environment or os.getppid())

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
