"""When an export that is waited for is read again."""

from __future__ import annotations

import time

from mailmart_client.failures import ExportFailed, ExportTimeout
from mailmart_client.models.export import Export

FIRST_POLL_SECONDS = 0.5
MAX_POLL_SECONDS = 10.0


class ExportWait:
    """A wait of at most `timeout` seconds for one export. The export is read less and less often."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._poll = FIRST_POLL_SECONDS

    def seconds(self, export: Export) -> float | None:
        """Seconds until the export is read again; None if it is completed.

        Raises:
            ExportFailed: it failed, was canceled or is expired.
            ExportTimeout: it is still processing at the end of the wait.
        """
        # an enum's member in one client, a text in the other
        status = getattr(export.status, "value", export.status)
        if status == "completed":
            return None
        if status != "processing":
            raise ExportFailed(export)
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise ExportTimeout(f"export {export.export_id} is at {export.progress} % after {self._timeout:g} s")
        seconds = min(self._poll, remaining)
        self._poll = min(self._poll * 1.5, MAX_POLL_SECONDS)
        return seconds
