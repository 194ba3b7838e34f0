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
from api.settings import Settings


@click.command()
@click.option("--with-parent", is_flag=True, help="End when the process that started this one ends.")
def command(with_parent: bool) -> None:
    """Run the timetable (the nightly batch) until told to stop (Ctrl-C, SIGTERM).

    Any number may run: one leads, the others stand by, and one of them takes over within seconds when it dies.
    """
    settings = Settings.from_environment()
    configure_logs()
    ending = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ending.set())
    if with_parent:
        end_with_parent()
    try:
        run_scheduler(settings, ending)
    except ServerError as error:
        logging.getLogger("api.scheduler").error("%s", error.message)  # noqa: TRY400 - a line says it all
        # the thread of the job that hangs would keep an ordinary end waiting
        os._exit(1)
