"""mailmart migrate"""

from __future__ import annotations

import click

from api.db.migrate import migrate
from api.settings import Settings


@click.command()
def command() -> None:
    """Bring the database to the newest migration. Safe to run twice, and from two processes."""
    applied = migrate(Settings.from_environment())
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("nothing to do")
