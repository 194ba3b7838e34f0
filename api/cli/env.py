"""mailmart env"""

from __future__ import annotations

import shlex

import click

from api.dbt.profile import dbt_environment
from api.settings import Settings


@click.command()
def command() -> None:
    """Print, as exports, the variables with which plain dbt finds the database: eval "$(mailmart env)"."""
    for name, value in dbt_environment(Settings.from_environment()).items():
        click.echo(f"export {name}={shlex.quote(value)}")
