"""What a worker does for an export's job, and for a delivery's."""

from __future__ import annotations

from collections.abc import Callable

from procrastinate import App

from api.errors import SettingsError
from api.exports.events import tell
from api.exports.run import run_attempt
from api.exports.storage import storage_of
from api.jobs.runner import work
from api.jobs.tasks import Running, make_queue
from api.observability.posthog import Telemetry
from api.reports.delivery import run_delivery
from api.reports.smtp import MailServer
from api.settings import Settings


def run_worker(settings: Settings, concurrency: int) -> None:
    """Runs jobs until the process is told to end.

    Raises:
        SettingsError: no database or no storage is configured, or another target than production.
    """
    if not settings.is_production:
        raise SettingsError(
            f"MAILMART_TARGET is {settings.target!r}, and exports and reports are production's",
            hint="A worker would write them out of other marts: run it without MAILMART_TARGET.",
        )
    storage = storage_of(settings)
    if settings.smtp_url is not None:
        # said now, and not when the first mail is due
        MailServer.of(settings.smtp_url, settings.mail_from or "")

    telemetry = Telemetry(settings)

    def export(export_id: str, is_stopping: Callable[[], bool]) -> None:
        end = run_attempt(settings, storage, export_id, is_stopping)
        if end is not None:
            tell(settings, telemetry, end)

    def deliver(run_id: str, channel: str, target: str) -> None:
        run_delivery(settings, run_id, channel, target)

    def make(running: Running) -> App:
        return make_queue(settings, export, deliver, running)

    try:
        work(make, concurrency)
    finally:
        telemetry.close()
