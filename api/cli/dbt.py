"""mailmart dbt"""

from __future__ import annotations

import os
import sys

import click

from api.cli.env import developer_environment
from api.settings import Settings


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run dbt with ARGUMENTS, in the environment that `mailmart env` prints, started faster: mailmart dbt show --select NAME.

    It leaves out work of dbt that nobody reads, such as debug events. `dbt` itself is as it is, and does the same.

    The target is dev: schemas of your own. --target production reads what is published.
    """
    settings = Settings.from_environment()
    environment = {**os.environ, **developer_environment(settings)}
    # dbt reads its arguments from the command line, and wants a process of its own
    os.execve(sys.executable, [sys.executable, "-m", "api.dbt.command", *arguments], environment)  # noqa: S606 - without a shell
