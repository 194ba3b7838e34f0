"""mailmart worker"""

from __future__ import annotations

import click

from api.observability.logs import configure_logs
from api.processes.parent_death import end_with_parent
from api.settings import Settings
from api.worker.main import run_worker


@click.command()
@click.option("--concurrency", type=click.IntRange(1, 64), default=2, show_default=True, help="Jobs at a time.")
@click.option("--with-parent", is_flag=True, help="End when the process that started this one ends.")
def command(concurrency: int, with_parent: bool) -> None:
    """Write exports and deliver reports until it is told to stop (Ctrl-C, SIGTERM). Run as many as there is to do.

    A job that takes longer than ten seconds to end is put back, and another worker does it from the beginning.
    """
    configure_logs()
    if with_parent:
        end_with_parent()
    run_worker(Settings.from_environment(), concurrency)
