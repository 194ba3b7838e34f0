"""mailmart intake"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from api.processes.parent_death import end_with_parent
from api.settings import INTAKE, Settings

if TYPE_CHECKING:
    from api.server.exchange import App


@click.command()
@click.option("--host", help="Address to listen on. Default: MAILMART_INTAKE_HOST, or MAILMART_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on. Default: MAILMART_INTAKE_PORT, or 8090.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Number of processes.")
@click.option("--with-parent", is_flag=True, help="Stop when the parent process ends.")
def command(host: str | None, port: int | None, workers: int, with_parent: bool) -> None:
    """Receive webhooks until Ctrl-C or SIGTERM. Accepted requests are finished first.

    A webhook gets 200 once it is committed. `mailmart sources create` makes the URL that a provider posts to.
    """
    # the worker processes read the settings from their own environment
    own = (("MAILMART_INTAKE_HOST", host), ("MAILMART_INTAKE_PORT", port))
    os.environ.update({name: str(value) for name, value in own if value is not None})
    settings = Settings.from_environment().for_process(INTAKE).for_intake_address()
    if with_parent:
        end_with_parent()
    click.echo(f"receiving webhooks on http://{settings.host}:{settings.port}/intake", err=True)
    from api.server.prefork import serve

    serve(settings, _make_app, workers=workers, port_variable="MAILMART_INTAKE_PORT")


def _make_app() -> App:
    # in each process: metrics are set up by then
    from api.server.intake_factory import create_intake_app

    return create_intake_app()
