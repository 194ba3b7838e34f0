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
    """Run `dbt build` with ARGUMENTS. Publish the result if the whole project was built and every test passed.

    The target is MAILMART_TARGET: production by default. Plain `dbt build` builds the schemas of the target dev instead.
    """
    settings = Settings.from_environment()
    require_migrations(settings)
    sys.exit(run_dbt(settings, ["build", *arguments]).returncode)
