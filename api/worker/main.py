"""The worker process: connects the job queue with exports and report deliveries."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import psycopg
from procrastinate import App

from api.db.connection import connect
from api.drawing.drawer import Drawer
from api.errors import SettingsError
from api.exports.attempt import run_attempt
from api.exports.events import report_outcome
from api.exports.storage import storage_of
from api.jobs.runner import run_jobs
from api.jobs.running_jobs import RunningJobs
from api.jobs.tasks import make_queue
from api.observability.posthog import Telemetry
from api.reports.delivery import run_delivery
from api.reports.mail_charts import ChartMaker
from api.reports.run_repository import export_ended
from api.reports.smtp import MailServer
from api.settings import Settings

# for the pictures of other mails; nobody waits for a mail
SECONDS_TO_WAIT_FOR_PICTURES = 15.0


def run_worker(settings: Settings, concurrency: int) -> None:
    """Runs jobs until the process is stopped.

    Raises:
        SessionError: the database session does not have the role, because of a connection pooler.
        SettingsError: the database, the storage or the mail server is not configured correctly, or the target is not production.
    """
    if not settings.is_production:
        raise SettingsError(
            f"MAILMART_TARGET is {settings.target!r}: exports and reports run in production only",
            hint="A worker would read the marts of another target. Unset MAILMART_TARGET.",
        )
    storage = storage_of(settings)
    if settings.smtp_url is not None:
        # fail at start, not at the first mail
        MailServer.of(settings.smtp_url, settings.mail_from or "")

    # fail at start if the role is wrong; an unavailable database is waited for
    with suppress(psycopg.OperationalError):
        connect(settings, "mailmart_worker").close()

    telemetry = Telemetry(settings)
    drawer = Drawer(max_callers=concurrency, seconds_to_wait=SECONDS_TO_WAIT_FOR_PICTURES)
    charts = ChartMaker(settings, drawer)

    def export(export_id: str, is_stopping: Callable[[], bool]) -> None:
        outcome = run_attempt(settings, storage, export_id, is_stopping, export_ended)
        if outcome is not None:
            report_outcome(settings, telemetry, outcome)

    def deliver(run_id: str, channel: str, target: str) -> None:
        run_delivery(settings, run_id, channel, target, charts=charts)

    def make(running: RunningJobs) -> App:
        return make_queue(settings, export, deliver, running)

    try:
        run_jobs(make, concurrency)
    finally:
        drawer.close()
        telemetry.close()
