"""What is told of the nightly runs."""

from __future__ import annotations

import logging

from api.batch.attempt import Attempt
from api.batch.nights import Night
from api.settings import Settings

LOG = logging.getLogger("api.batch")


def tell_try(night: Night, tried: Attempt) -> None:
    """A try that failed; there may be another one."""
    fields = {"scheduled_for": night.scheduled_for, "tries": night.tries, "batch_id": tried.batch_id, "error": tried.error}
    LOG.warning("nightly run: try %d failed", night.tries, extra={"fields": fields})


def tell_end(settings: Settings, night: Night, tried: Attempt, status: str, seconds: float) -> None:
    """The end of a run, succeeded or failed, to whoever wants to hear of it."""
    fields = {
        "target": settings.target,
        "scheduled_for": night.scheduled_for,
        "is_by_hand": night.is_by_hand,
        "tries": night.tries,
        "seconds": round(seconds, 1),
        "batch_id": tried.batch_id,
    }
    if status == "succeeded":
        LOG.info("nightly run succeeded: batch %s is served", tried.batch_id, extra={"fields": fields})
    else:
        LOG.error("nightly run failed: the batch before it is served on", extra={"fields": {**fields, "error": tried.error}})
