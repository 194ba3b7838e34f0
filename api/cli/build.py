"""mailmart build"""

from __future__ import annotations

import sys

import click

from api.builds.slow_payloads import needs_search, set_slow_payloads_aside
from api.db.connection import connect
from api.db.migrate import require_migrations
from api.dbt.runner import run_dbt
from api.settings import Settings


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run `dbt build` with ARGUMENTS. Publish the result if the whole project was built and every test passed.

    If a model that reads the raw logs fails, bodies that cannot be read in a minute are set aside, and the build is repeated.

    The target is MAILMART_TARGET: production by default. Plain `dbt build` builds the schemas of the target dev instead.
    """
    settings = Settings.from_environment()
    require_migrations(settings)
    status = run_dbt(settings, ["build", *arguments]).returncode
    if status != 0 and _needs_search(settings):
        click.echo("a model that reads the raw logs failed: looking for bodies that cannot be read", err=True)
        found = set_slow_payloads_aside(settings)
        if found:
            for payload in found:
                click.echo(f"set aside: {payload.reason}", err=True)
            status = run_dbt(settings, ["build", *arguments]).returncode
    sys.exit(status)


def _needs_search(settings: Settings) -> bool:
    with connect(settings, "mailmart_owner") as connection:
        return needs_search(connection, settings.target)
