"""mailmart env"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from api.cli.env_file import quoted
from api.dbt.profile import dbt_environment
from api.embedded.paths import write_private
from api.settings import Settings


@click.command()
@click.option("--write", "is_write", is_flag=True, help="Write the variables to .env in the project's folder instead.")
def command(is_write: bool) -> None:
    """Print the environment that plain dbt needs, with the database's password: eval "$(mailmart env)".

    dbt's target is then dev: `dbt build` writes schemas of your own (dev_marts), and the API's data do not change. Publish with
    `mailmart build` or `dbt build --target production`.

    With --write, the variables go to the file .env, which editors and their dbt extensions read. Only you may read the file.
    Other lines of an existing .env are kept.
    """
    settings = Settings.from_environment()
    variables = developer_environment(settings)
    if not is_write:
        for name, value in variables.items():
            click.echo(f"export {name}={shlex.quote(value)}")
        return
    path = settings.project_root / ".env"
    write_private(path, _merged(path, variables))
    click.echo(f"wrote {path}: it contains the database's password, and only you may read it", err=True)


def developer_environment(settings: Settings) -> dict[str, str]:
    """The environment of plain dbt, with the target dev. A prefix of the caller's environment is kept."""
    variables = {**dbt_environment(settings), "MAILMART_DBT_TARGET": "dev"}
    prefix = os.environ.get("MAILMART_DBT_PREFIX")
    return {**variables, "MAILMART_DBT_PREFIX": prefix} if prefix and settings.is_production else variables


def _merged(path: Path, variables: dict[str, str]) -> str:
    """The lines of an existing file that set other variables, and then ours."""
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if line.removeprefix("export ").split("=")[0].strip() not in variables]
    return "".join(f"{line}\n" for line in [*kept, *(f"{name}={quoted(value)}" for name, value in variables.items())])
