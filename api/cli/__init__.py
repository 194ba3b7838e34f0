"""The command `mailmart`: one module a command, imported when it is called. May import every other package."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from api.errors import MailmartError

# order of `mailmart --help`; in its own list, because importing all commands takes seconds
COMMANDS = {
    "demo": "Run everything with synthetic mail: servers, build, API key, API.",
    "run": "Run everything: API server, intake, worker, scheduler, embedded servers.",
    "up": "Start the embedded servers and migrate the database.",
    "down": "Stop the embedded servers.",
    "env": "Print the environment that dbt needs, or write it to .env.",
    "settings": "Print all settings, as Markdown.",
    "migrate": "Migrate the database.",
    "ingest": "Load webhook bodies or events from files.",
    "generate": "Load synthetic events.",
    "dbt": "Run dbt, started faster.",
    "build": "Run dbt build and publish the result.",
    "batch": "List builds and nightly runs, start a run, roll back.",
    "serve": "Run the API server.",
    "intake": "Receive webhooks.",
    "worker": "Run the worker: exports and report deliveries.",
    "scheduler": "Run scheduled jobs.",
    "mcp": "Answer an agent's tools on standard input and output.",
    "keys": "Create, list and revoke API keys.",
    "sources": "Create, list, rotate and revoke sources of webhooks.",
    "mx": "Look up which hosts take the mail of recipient domains.",
    "erase": "Erase a workspace or a recipient.",
    "bench": "Measure builds, queries, the API, exports and the intake.",
    "openapi": "Write or check openapi.json.",
    "sdk": "Generate SDKs from openapi.json.",
}

# libpq sends them at each connection, and they override the start-up options: the formats that every session of ours depends on
LIBPQ_FORMATS = ("PGTZ", "PGDATESTYLE", "PGCLIENTENCODING")
UNREACHABLE_HINT = (
    "Check that PostgreSQL runs (`mailmart up` starts the embedded one), and that MAILMART_DATABASE_URL has the right address and"
    " login."
)


class Commands(click.Group):
    """Imports a command's module only when it is called: dbt alone takes a second to import."""

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

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, arguments = super().resolve_command(ctx, args)
        if name is not None and not {"-h", "--help"} & set(arguments):
            from api.cli.settings_sources import load_settings

            ctx.obj = load_settings(name)
        return name, command, arguments

    def invoke(self, ctx: click.Context) -> Any:
        for name in LIBPQ_FORMATS:
            os.environ.pop(name, None)
        try:
            return super().invoke(ctx)
        except MailmartError as error:
            click.echo(f"error: {error.message}", err=True)
            if error.hint:
                click.echo(error.hint, err=True)
            _report_setting_origins(error, ctx.obj or {})
            sys.exit(1)
        except Exception as error:
            problem = _database_problem(error)
            if problem is None:
                raise
            click.echo(f"error: the database: {problem}", err=True)
            if not getattr(error, "sqlstate", None):
                click.echo(UNREACHABLE_HINT, err=True)
            sys.exit(1)


def _database_problem(error: Exception) -> str | None:
    """What the server, or libpq, says about a database that is unavailable, full, locked or shut down; None for other errors.

    psycopg is imported by commands that connect, and takes too long for the others.
    """
    psycopg = sys.modules.get("psycopg")
    if psycopg is None or not isinstance(error, psycopg.OperationalError):
        return None
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__


def _report_setting_origins(error: MailmartError, origins: Mapping[str, str]) -> None:
    from api.cli.settings_sources import origin_lines

    for line in origin_lines(error.message, origins):
        click.echo(line, err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mailmart")
def main() -> None:
    """E-mail campaign analytics: a dbt project on PostgreSQL, and a REST API generated from it."""
