"""mailmart serve"""

from __future__ import annotations

import os

import click

from api.processes.parent_death import end_with_parent
from api.server.granian import serve
from api.settings import SERVE, Settings


@click.command()
@click.option("--host", help="Address to listen on. Default: MAILMART_HOST, or 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on. Default: MAILMART_PORT, or 8080.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Number of processes.")
@click.option("--with-parent", is_flag=True, help="Stop when the parent process ends.")
def command(host: str | None, port: int | None, workers: int, with_parent: bool) -> None:
    """Run the API server until Ctrl-C or SIGTERM. Accepted requests are finished first."""
    # the worker processes read the settings from their own environment
    os.environ.update(
        {name: str(value) for name, value in (("MAILMART_HOST", host), ("MAILMART_PORT", port)) if value is not None}
    )
    settings = Settings.from_environment().for_process(SERVE)
    if with_parent:
        end_with_parent()
    click.echo(f"serving on http://{settings.host}:{settings.port}, documentation at /docs", err=True)
    serve(settings, workers=workers)
