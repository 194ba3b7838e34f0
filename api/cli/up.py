"""mailmart up"""

from __future__ import annotations

from urllib.parse import quote

import click
from psycopg.conninfo import conninfo_to_dict

from api.cli.stack import start_and_migrate
from api.settings import Settings, embedded_database_url


@click.command()
def command() -> None:
    """Start the embedded PostgreSQL and Valkey and migrate the database.

    A server with a URL in the settings is not started. The servers run until `mailmart down`. If they run already, only the
    migrations are applied.

    PostgreSQL listens on a unix socket. Set MAILMART_POSTGRES_PORT for a port of 127.0.0.1 as well.
    """
    settings = Settings.from_environment()
    start_and_migrate(settings)
    if settings.database_url is None:
        database = conninfo_to_dict(embedded_database_url(settings.home))
        click.echo(
            f"PostgreSQL: postgresql://{database['user']}@/{database['dbname']}"
            f"?host={quote(str(database['host']), safe='/')}&port={database['port']}"
            "   (`mailmart env` prints the password)"
        )
