"""Invalid API keys of each client: after too many within a minute, more of them are refused without asking the database."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from cachetools import TTLCache

from api.net.client_address import address_group

MAX_FAILURES = 30
WINDOW_SECONDS = 60
MAX_TRACKED_CLIENTS = 10_000


class FailedLogins:
    """Counts for each client, in this process. A window begins with a client's first failure."""

    def __init__(self) -> None:
        self._failures: TTLCache[str, tuple[int, float]] = TTLCache(MAX_TRACKED_CLIENTS, WINDOW_SECONDS)
        self._lock = threading.Lock()

    def record(self, address: str) -> None:
        """Counts a failure of a client; a connection without an address (a unix socket) is not counted."""
        if not address:
            return
        client = address_group(address)
        with self._lock:
            failures, since = 0, time.monotonic()
            with suppress(KeyError):
                failures, since = self._failures[client]
            # an entry is kept for a whole window after its last failure
            if time.monotonic() - since >= WINDOW_SECONDS:
                failures, since = 0, time.monotonic()
            self._failures[client] = (failures + 1, since)

    def seconds_blocked(self, address: str) -> int:
        """Seconds until the client may try again; 0 if it may now."""
        failures, since = 0, 0.0
        # not get(), which fails if the entry expires while it looks
        with self._lock, suppress(KeyError):
            failures, since = self._failures[address_group(address)]
        left = since + WINDOW_SECONDS - time.monotonic()
        return max(1, round(left)) if failures >= MAX_FAILURES and left > 0 else 0
