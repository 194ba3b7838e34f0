"""Runs an app on event loops of its own: a few processes that share one socket, with HTTP/1.1 in the loop's thread."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import uvloop

from api.processes.restarts import Restarts
from api.processes.stack import SERVER_DRAIN_SECONDS
from api.server.exchange import App
from api.server.http1 import Connections
from api.server.listening import BACKLOG, check_address, listen, max_connections
from api.server.metrics_server import serve_metrics
from api.settings import Settings

LOG = logging.getLogger(__name__)
# between looks at the processes
WATCH_SECONDS = 0.1


def serve(settings: Settings, make_app: Callable[[], App], *, workers: int = 1, port_variable: str = "MAILMART_PORT") -> None:
    """Serves the app that `make_app` makes in each process, until SIGINT or SIGTERM; running requests are finished first.

    `port_variable` is the setting that an error about the address names.

    Raises:
        ServerError: the address is in use or not available on this machine, or the metrics port is in use.
    """
    check_address(settings, port_variable)
    limit = max_connections()
    with serve_metrics(settings, with_database=False), listen(settings, port_variable) as listening:
        _supervise(lambda: _work(make_app, listening, limit), workers)


def _supervise(work: Callable[[], None], workers: int) -> None:
    """Runs the processes, and starts another one for each that ends, until SIGINT or SIGTERM."""
    stopped: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: stopped.append(number)) for number in signals]
    context = multiprocessing.get_context("fork")
    processes: list[BaseProcess] = []
    restarts = Restarts()
    try:
        while not stopped:
            ended = [process for process in processes if not process.is_alive()]
            for process in ended:
                processes.remove(process)
                delay = restarts.fail()
                LOG.error("a process of the server ended with status %s; starting another one in %g s", process.exitcode, delay)
            while len(processes) < workers and restarts.is_due:
                restarts.start()
                process = context.Process(target=work)
                process.start()
                processes.append(process)
            time.sleep(WATCH_SECONDS)
    finally:
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + SERVER_DRAIN_SECONDS
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def _work(make_app: Callable[[], App], listening: socket.socket, limit: int) -> None:
    # the parent decides when it ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    uvloop.run(_serve(make_app, listening, limit))


async def _serve(make_app: Callable[[], App], listening: socket.socket, limit: int) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    connections = Connections(make_app(), limit)
    server = await loop.create_server(connections.make, sock=listening, backlog=BACKLOG)
    LOG.info("process %d accepts requests", os.getpid())
    await stopped.wait()
    server.close()
    await connections.drain()
