"""mailmart worker"""

from __future__ import annotations

import click

from api.observability.logs import configure_logs
from api.processes.parent_death import end_with_parent
from api.settings import WORKER, Settings
from api.worker.main import run_worker


@click.command()
@click.option("--concurrency", type=click.IntRange(1, 64), default=2, show_default=True, help="Jobs at a time.")
@click.option("--with-parent", is_flag=True, help="Stop when the parent process ends.")
def command(concurrency: int, with_parent: bool) -> None:
    """Run the worker until Ctrl-C or SIGTERM: it writes exports and delivers reports. Several workers may run.

    A running job has ten seconds to finish. After that it goes back to the queue, and another worker starts it again.
    """
    configure_logs()
    if with_parent:
        end_with_parent()
    run_worker(Settings.from_environment().for_process(WORKER), concurrency)
