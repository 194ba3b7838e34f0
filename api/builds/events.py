"""Reports the attempts and ends of nightly runs, and failed continuous builds: to the log, and to PostHog if it is configured."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import psycopg

from api.builds.dbt_attempt import AttemptResult
from api.builds.repository import written_rows
from api.builds.run_repository import NightlyRun
from api.observability.posthog import Telemetry
from api.settings import Settings

LOG = logging.getLogger("api.builds")
EVENT_FIELDS = ("is_manual", "attempts", "seconds", "models", "rows")


def log_failed_attempt(run: NightlyRun, result: AttemptResult) -> None:
    """Logs an attempt that failed; another one may follow."""
    fields = {"scheduled_for": run.scheduled_for, "attempts": run.attempts, "batch_id": result.batch_id, "error": result.error}
    LOG.warning("nightly run: attempt %d failed", run.attempts, extra={"fields": fields})


def report_run_ended(
    settings: Settings, connection: psycopg.Connection, run: NightlyRun, result: AttemptResult, status: str, seconds: float
) -> None:
    """Reports the end of a run, `status` succeeded or failed, with the result of its last attempt."""
    fields: dict[str, Any] = {
        "target": settings.target,
        "scheduled_for": run.scheduled_for,
        "is_manual": run.is_manual,
        "attempts": run.attempts,
        "seconds": round(seconds, 1),
        "batch_id": result.batch_id,
    }
    with suppress(psycopg.Error):
        written = written_rows(connection, result.batch_id)
        fields |= {"models": written.models, "rows": written.rows}
    event = "batch_completed" if status == "succeeded" else "batch_failed"
    telemetry = Telemetry(settings)
    telemetry.capture(event, {**{name: fields.get(name) for name in EVENT_FIELDS}, "reason": result.status})
    telemetry.close()
    if status == "succeeded":
        LOG.info("nightly run succeeded: batch %s is published", result.batch_id, extra={"fields": fields})
    else:
        LOG.error("nightly run failed: the previous publication stays", extra={"fields": {**fields, "error": result.error}})


def report_continuous_failure(settings: Settings, result: AttemptResult, failures: int, seconds: float, delay: float) -> None:
    """Reports a continuous build that failed, `failures` in a row with it; the next one begins in `delay` seconds."""
    telemetry = Telemetry(settings)
    telemetry.capture("continuous_build_failed", {"failures": failures, "seconds": round(seconds, 1), "reason": result.status})
    telemetry.close()
    fields = {"target": settings.target, "batch_id": result.batch_id, "failures": failures, "error": result.error}
    LOG.error("continuous build failed: the previous publication stays, next attempt in %g s", delay, extra={"fields": fields})
