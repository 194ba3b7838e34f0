"""Reports exports that ended: a log line and a telemetry event."""

from __future__ import annotations

import logging

from api.exports.outcome import ExportOutcome
from api.observability.posthog import Telemetry
from api.settings import Settings

LOG = logging.getLogger(__name__)


def report_outcome(settings: Settings, telemetry: Telemetry, outcome: ExportOutcome) -> None:
    """Logs an outcome and sends its telemetry event, which has no id of an export or a workspace."""
    export = outcome.export
    properties: dict[str, str | int | float | None] = {
        "export_type": export.export_type,
        "format": export.format,
        "attempts": export.attempts,
        "seconds": round(outcome.seconds, 3),
        "storage": "s3" if settings.export_bucket else "local",
    }
    log_fields = {**properties, "export_id": export.export_id, "workspace_id": export.workspace_id}
    if outcome.file:
        file_properties = {"rows": outcome.file.rows, "bytes": outcome.file.size}
        LOG.info("export completed", extra={"fields": {**log_fields, **file_properties}})
        telemetry.capture("export_completed", {**properties, **file_properties})
    elif outcome.reason:
        LOG.warning("export failed: %s", outcome.reason.message, extra={"fields": log_fields})
        telemetry.capture("export_failed", {**properties, "reason": outcome.reason.code})
