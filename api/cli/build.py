"""mailmart build"""

from __future__ import annotations

import sys

import click

from api.db.migrate import require_migrations
from api.dbt.runner import run_dbt
from api.settings import Settings


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run `dbt build` with the arguments given, and publish if everything was selected and passed."""
    settings = Settings.from_environment()
    require_migrations(settings)
    sys.exit(run_dbt(settings, ["build", *arguments]).returncode)
