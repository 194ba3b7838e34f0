"""Runs the WSGI app under granian."""

from __future__ import annotations

import socket
from pathlib import Path

from granian.constants import Interfaces
from granian.server import Server

from api.errors import ServerError
from api.processes.stack import SERVER_DRAIN_SECONDS
from api.server.metrics_server import serve_metrics
from api.settings import Settings

THREADS = 4


def serve(settings: Settings, *, workers: int = 1, target: str = "api.server.wsgi:create_wsgi_app") -> None:
    """Serves the app that the factory `target` creates, until SIGINT or SIGTERM; running requests are finished first.

    Raises:
        ServerError: the address is in use or not available on this machine, or the metrics port is in use.
    """
    check_address(settings)
    with serve_metrics(settings):
        Server(
            target,
            address=settings.host,
            port=settings.port,
            interface=Interfaces.WSGI,
            factory=True,
            workers=workers,
            blocking_threads=THREADS,
            backlog=1024,
            respawn_failed_workers=True,
            workers_kill_timeout=SERVER_DRAIN_SECONDS,
            working_dir=Path(settings.project_root),
            log_level="warning",  # type: ignore[arg-type]
        ).serve()


def check_address(settings: Settings) -> None:
    """Checks that the settings' address is free, before anything is started.

    Raises:
        ServerError: it is not.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise ServerError(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}",
                hint="Set MAILMART_PORT (or --port) to another port, or stop the program that uses it.",
            ) from error
