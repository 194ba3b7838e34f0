"""mailmart scheduler"""

from __future__ import annotations

import logging
import os
import signal
import threading

import click

from api.errors import ServerError
from api.observability.logs import configure_logs
from api.processes.parent_death import end_with_parent
from api.scheduler.leader import run_scheduler
from api.settings import SCHEDULER, Settings


@click.command()
@click.option("--with-parent", is_flag=True, help="Stop when the parent process ends.")
def command(with_parent: bool) -> None:
    """Run scheduled jobs until Ctrl-C or SIGTERM: the nightly run, continuous builds, due reports, deletion of expired
    exports.

    Several schedulers may run. One of them leads; if it ends, another one takes over within seconds.
    """
    settings = Settings.from_environment().for_process(SCHEDULER)
    configure_logs()
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    if with_parent:
        end_with_parent()
    try:
        run_scheduler(settings, stopping)
    except ServerError as error:
        logging.getLogger("api.scheduler").error("%s", error.message)  # noqa: TRY400 - a trace adds nothing
        # an ordinary exit would wait for the thread of the job that hangs
        os._exit(1)
