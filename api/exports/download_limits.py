"""How many downloads of one link, of one workspace and in all one process serves at a time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from api.errors import TooManyDownloads

MAX_PER_LINK = 4
MAX_PER_WORKSPACE = 16
MAX_PER_PROCESS = 128


class DownloadLimits:
    """Counts running downloads. A link needs no credential, so without a limit one client could open it any number of times."""

    def __init__(
        self, per_link: int = MAX_PER_LINK, per_workspace: int = MAX_PER_WORKSPACE, per_process: int = MAX_PER_PROCESS
    ) -> None:
        self._limits = (("link", per_link), ("workspace", per_workspace), ("process", per_process))
        self._running: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def acquire(self, storage_key: str, workspace_id: str) -> Callable[[], None]:
        """Counts one more download, and returns what ends it; it may be called more than once.

        Raises:
            TooManyDownloads: as many run already.
        """
        keys = (("link", storage_key), ("workspace", workspace_id), ("process", ""))
        with self._lock:
            for key, (name, limit) in zip(keys, self._limits, strict=True):
                if self._running[key] >= limit:
                    raise TooManyDownloads(name, limit)
            self._running.update(keys)
        is_released = False

        def release() -> None:
            nonlocal is_released
            with self._lock:
                if not is_released:
                    is_released = True
                    self._running.subtract(keys)
                    for key in keys:
                        if not self._running[key]:
                            del self._running[key]

        return release
