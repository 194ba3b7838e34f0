"""The command `mailmart`. Each command is a module of this folder, loaded when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from api.errors import MailmartError

COMMANDS = {
    "demo": "Everything at once, with data to look at: servers, load, build, key, API.",
    "up": "Start the embedded servers and migrate; with --all run everything.",
    "down": "Stop the embedded servers.",
    "env": 'Print what dbt needs, for eval "$(mailmart env)".',
    "migrate": "Bring the database to the newest migration.",
    "ingest": "Land webhook bodies or events out of files.",
    "generate": "Land synthetic mail, made inside the database.",
    "build": "Run dbt build, and publish.",
    "batch": "Builds and nightly runs: list, status, run now; go back to the publication before.",
    "serve": "Serve the API.",
    "worker": "Write exports and deliver reports.",
    "scheduler": "Run the timetable: the nightly batch.",
    "keys": "Create, list and revoke API keys.",
    "bench": "Measure builds against the same work in plain SQL.",
    "openapi": "Write the API's OpenAPI document, or check it.",
    "sdk": "Write SDKs out of the OpenAPI document.",
}


class Commands(click.Group):
    """A group that imports a command's module only when it is called: dbt alone takes a second to load."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"api.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MailmartError as error:
            click.echo(f"error: {error.message}", err=True)
            if error.hint:
                click.echo(error.hint, err=True)
            sys.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mailmart")
def main() -> None:
    """E-mail campaign analytics: a dbt project on PostgreSQL, and a REST API generated from it."""
