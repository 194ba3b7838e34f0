"""mailmart migrate"""

from __future__ import annotations

import click

from api.db.migrate import migrate
from api.settings import Settings


@click.command()
def command() -> None:
    """Apply all new migrations to the database. Several processes may do so at the same time."""
    applied = migrate(Settings.from_environment())
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("the database is up to date")
