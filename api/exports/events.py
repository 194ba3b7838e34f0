"""What is told of exports that ended: a log line, and an operational event."""

from __future__ import annotations

import logging

from api.exports.run import End
from api.observability.posthog import Telemetry
from api.settings import Settings

LOG = logging.getLogger(__name__)


def tell(settings: Settings, telemetry: Telemetry, end: End) -> None:
    """Says how an export ended."""
    export = end.export
    of_it: dict[str, str | int | float | None] = {
        "export_type": export.export_type,
        "format": export.format,
        "attempts": export.attempts,
        "seconds": round(end.seconds, 3),
        "storage": "s3" if settings.export_bucket else "local",
    }
    for_us = {**of_it, "export_id": export.export_id, "workspace_id": export.workspace_id}
    if end.written:
        more = {"rows": end.written.rows, "bytes": end.written.size}
        LOG.info("an export is completed", extra={"fields": {**for_us, **more}})
        telemetry.capture("export_completed", {**of_it, **more})
    elif end.reason:
        LOG.warning("an export has failed: %s", end.reason.message, extra={"fields": for_us})
        telemetry.capture("export_failed", {**of_it, "reason": end.reason.word})
