"""The jobs that a worker of this process is running."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class RunningJobs:
    """The ids of running jobs, shared by the worker's threads.

    Attributes:
        is_stopped: the worker lost these jobs and was replaced by a new one; they should stop.
    """

    # a list: a job can be in it twice if it was recovered and claimed again by this process
    _ids: list[int] = field(default_factory=list)
    is_stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, job_id: int) -> None:
        """Adds a job that starts."""
        with self._lock:
            self._ids.append(job_id)

    def remove(self, job_id: int) -> None:
        """Removes one entry of a job that ended."""
        with self._lock:
            self._ids.remove(job_id)

    def stop(self) -> None:
        """Asks all jobs to stop."""
        self.is_stopped = True

    def ids(self) -> list[int]:
        """The jobs that are running now."""
        with self._lock:
            return list(self._ids)
