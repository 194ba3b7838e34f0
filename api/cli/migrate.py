"""mailmart migrate"""

from __future__ import annotations

import click

from api.db.citus import distribute_core
from api.db.migrate import migrate
from api.db.timescale import make_hypertables
from api.settings import Settings


@click.command()
@click.option(
    "--timescale",
    is_flag=True,
    help="Make the large raw tables hypertables of TimescaleDB. They are locked while rows are moved.",
)
@click.option(
    "--citus",
    is_flag=True,
    help="Distribute the tables of core by workspace over the nodes of a Citus cluster. They are locked while rows are moved.",
)
def command(timescale: bool, citus: bool) -> None:
    """Apply all new migrations to the database. Several processes may do so at the same time."""
    settings = Settings.from_environment()
    applied = migrate(settings)
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("the database is up to date")
    if timescale:
        make_hypertables(settings, click.echo)
    if citus:
        distribute_core(settings, click.echo)
