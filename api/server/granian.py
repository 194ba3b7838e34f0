"""Runs the app under granian."""

from __future__ import annotations

from pathlib import Path

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.server import Server

from api.processes.stack import SERVER_DRAIN_SECONDS
from api.server.listening import BACKLOG, check_address, max_connections
from api.server.metrics_server import serve_metrics
from api.settings import Settings

THREADS = 4
HEADER_TIMEOUT_SECONDS = 10


def serve(
    settings: Settings,
    *,
    workers: int = 1,
    target: str = "api.server.factory:create_asgi_app",
    port_variable: str = "MAILMART_PORT",
    with_database_metrics: bool = True,
    interface: Interfaces = Interfaces.ASGINL,
) -> None:
    """Serves the app that the factory `target` creates, until SIGINT or SIGTERM; running requests are finished first.

    `port_variable` is the setting that an error about the address names.

    Raises:
        ServerError: the address is in use or not available on this machine, or the metrics port is in use.
    """
    check_address(settings, port_variable)
    with serve_metrics(settings, with_database=with_database_metrics):
        Server(
            target,
            address=settings.host,
            port=settings.port,
            interface=interface,
            # not granian's own choice, which depends on what else is installed
            loop=Loops.uvloop,
            websockets=interface is not Interfaces.RSGI,
            # HTTP/2 over plain TCP: its streams would bypass the limit of connections
            http=HTTPModes.http1,
            factory=True,
            workers=workers,
            backlog=BACKLOG,
            backpressure=max_connections(),
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_SECONDS * 1000),
            respawn_failed_workers=True,
            workers_kill_timeout=SERVER_DRAIN_SECONDS,
            working_dir=Path(settings.project_root),
            log_level="warning",  # type: ignore[arg-type]
        ).serve()
