"""What is told of the nightly runs."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import psycopg

from api.builds.dbt_attempt import Attempt
from api.builds.run_repository import NightlyRun
from api.db.connection import connect
from api.observability.posthog import Telemetry
from api.settings import Settings

LOG = logging.getLogger("api.builds")
OF_A_BATCH = ("is_manual", "attempts", "seconds", "models", "rows")


def tell_try(night: NightlyRun, tried: Attempt) -> None:
    """A try that failed; there may be another one."""
    fields = {"scheduled_for": night.scheduled_for, "attempts": night.attempts, "batch_id": tried.batch_id, "error": tried.error}
    LOG.warning("nightly run: try %d failed", night.attempts, extra={"fields": fields})


def tell_end(settings: Settings, night: NightlyRun, tried: Attempt, status: str, seconds: float) -> None:
    """The end of a run, succeeded or failed, to whoever wants to hear of it."""
    fields: dict[str, Any] = {
        "target": settings.target,
        "scheduled_for": night.scheduled_for,
        "is_manual": night.is_manual,
        "attempts": night.attempts,
        "seconds": round(seconds, 1),
        "batch_id": tried.batch_id,
    }
    with suppress(psycopg.Error):
        fields |= _written(settings, tried.batch_id)
    event = "batch_completed" if status == "succeeded" else "batch_failed"
    telemetry = Telemetry(settings)
    telemetry.capture(event, {**{name: fields.get(name) for name in OF_A_BATCH}, "reason": tried.status})
    telemetry.close()
    if status == "succeeded":
        LOG.info("nightly run succeeded: batch %s is served", tried.batch_id, extra={"fields": fields})
    else:
        LOG.error("nightly run failed: the batch before it is served on", extra={"fields": {**fields, "error": tried.error}})


def _written(settings: Settings, batch_id: int | None) -> dict[str, int]:
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute(
            "select count(*), coalesce(sum(rows_inserted + rows_expired), 0)::bigint from app.model_runs where batch_id = %s",
            (batch_id,),
        ).fetchone()
    return {"models": row[0], "rows": row[1]} if row else {}
