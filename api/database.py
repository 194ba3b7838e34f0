"""Connections to PostgreSQL, each under the role of what it is for."""

from __future__ import annotations

from typing import Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.embedded.address import embedded_database_url
from api.errors import SettingsError
from api.settings import Settings

Role = Literal["mailmart_owner", "mailmart_api", "mailmart_worker", "mailmart_analyst"]


def conninfo(settings: Settings, role: Role | None, *, options: str = "") -> str:
    """The libpq connection string of the settings' database; its sessions have `role`, or the login's own for None.

    `options` are further start-up options (`-c name=value`). The role is a start-up option, so that nothing runs before it is
    taken, and `reset role` leads back to it.

    Raises:
        SettingsError: no database is configured, and the embedded one was never started; or the URL is none.
    """
    url = settings.database_url or embedded_database_url(settings.home)
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise SettingsError(
            f"MAILMART_DATABASE_URL is no connection string: {error}",
            hint="Write it as postgresql://login:password@host:port/database.",
        ) from error
    parts = [str(given.get("options") or ""), options, f"-c role={role}" if role else ""]
    options = " ".join(part for part in parts if part)
    return make_conninfo(url, options=options, application_name=given.get("application_name") or "mailmart")


def connect(settings: Settings, role: Role | None) -> psycopg.Connection:
    """Opens a connection; a `with` block commits its transaction, or rolls it back on an error, and closes it."""
    return psycopg.connect(conninfo(settings, role), connect_timeout=10)
