"""mailmart down"""

from __future__ import annotations

import click

from api.cli.progress import step
from api.embedded import servers
from api.settings import Settings


@click.command()
def command() -> None:
    """Stop the embedded servers. Their data are kept."""
    with step("stopping Valkey and PostgreSQL") as done:
        stopped = servers.stop(Settings.from_environment())
        done("stopped" if stopped.postgres or stopped.valkey else "not running")
