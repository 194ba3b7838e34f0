"""When a process that has ended may be started again: later each time that it ended soon after its start."""

from __future__ import annotations

import time

FIRST_RESTART_DELAY = 0.5
MAX_RESTART_DELAY = 30.0
# a process that ran for so long started well: its next restart does not wait longer than the first
HEALTHY_AFTER_SECONDS = 30.0


class Restarts:
    """The starts and ends of one process, or of several of which each counts."""

    def __init__(self) -> None:
        self._started_at = 0.0
        self._crashes = 0
        self._restart_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it may be started."""
        return time.monotonic() >= self._restart_at

    def start(self) -> None:
        """Notes a start."""
        self._started_at = time.monotonic()

    def fail(self) -> float:
        """Notes an end that nobody wanted, or a start that failed. Returns the seconds until the next start."""
        now = time.monotonic()
        self._crashes = 1 if now - self._started_at >= HEALTHY_AFTER_SECONDS else self._crashes + 1
        delay = restart_delay(self._crashes)
        self._restart_at = now + delay
        return delay


def restart_delay(crashes: int) -> float:
    """Seconds until the restart of a process that has crashed so many times in a row: doubles each time, up to a maximum."""
    # a power without a bound would overflow a float
    return float(min(FIRST_RESTART_DELAY * 2 ** min(crashes - 1, 16), MAX_RESTART_DELAY))
