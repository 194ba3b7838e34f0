"""mailmart up"""

from __future__ import annotations

import click

from api.cli.progress import step
from api.embedded import servers
from api.embedded.address import embedded_database_url
from api.migrate import migrate
from api.settings import Settings


@click.command()
def command() -> None:
    """Start the embedded PostgreSQL and Valkey, where no others are configured, and migrate.

    They go on running until `mailmart down`. Run again, it finds them running.
    """
    settings = Settings.from_environment()
    with step("starting PostgreSQL and Valkey") as done:
        started = servers.start(settings)
        done("started" if started.postgres or started.valkey else "running already")
    with step("migrating") as done:
        applied = migrate(settings)
        done(f"{len(applied)} migrations applied" if applied else "nothing to do")
    if settings.database_url is None:
        click.echo(f"PostgreSQL: {embedded_database_url(settings.home)}")
