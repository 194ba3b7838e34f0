"""What a worker does for an export's job."""

from __future__ import annotations

from collections.abc import Callable

from procrastinate import App

from api.exports.attempt import run_attempt
from api.exports.storage import storage_of
from api.queue.tasks import Running, make_queue
from api.queue.worker import work
from api.settings import Settings


def run_worker(settings: Settings, concurrency: int) -> None:
    """Runs jobs until the process is told to end.

    Raises:
        SettingsError: no database or no storage is configured.
    """
    storage = storage_of(settings)

    def export(export_id: str, is_stopping: Callable[[], bool]) -> None:
        run_attempt(settings, storage, export_id, is_stopping)

    def make(running: Running) -> App:
        return make_queue(settings, export, running)

    work(make, concurrency)
