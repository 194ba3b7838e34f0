"""Connections to PostgreSQL, each under the role of what it is for."""

from __future__ import annotations

from typing import Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.errors import SettingsError
from api.settings import Settings, embedded_database_url

Role = Literal["mailmart_owner", "mailmart_api", "mailmart_worker", "mailmart_analyst"]
# both ends notice within a quarter of a minute that the other one's machine is gone; a death of a process is seen at once
KEEPALIVES = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3"}
# what is sent and never acknowledged; not for the owner, who lands so much that a busy server may stop reading for a while
UNACKNOWLEDGED = {"tcp_user_timeout": "10000"}
# times are UTC, whatever the server's zone is: those that are shown, and what casts in SQL take for one
OPTIONS = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c TimeZone=UTC"


def conninfo(settings: Settings, role: Role | None, *, options: str = "") -> str:
    """The libpq connection string of the settings' database; its sessions have `role`, or the login's own for None.

    `options` are further start-up options (`-c name=value`). The role is a start-up option, so that nothing runs before it is
    taken, and `reset role` leads back to it. Sessions are in UTC.

    Raises:
        SettingsError: no database is configured, and the embedded one was never started; or the URL is none.
    """
    url = settings.database_url or embedded_database_url(settings.home)
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # psycopg's error contains the URL with its password
        raise SettingsError(
            "MAILMART_DATABASE_URL is not a connection string",
            hint="Write it as postgresql://login:password@host:port/database.",
        ) from None
    parts = [str(given.get("options") or ""), OPTIONS, options, f"-c role={role}" if role else ""]
    ours = {"application_name": "mailmart", **KEEPALIVES, **({} if role == "mailmart_owner" else UNACKNOWLEDGED)}
    # what the URL says of these goes before
    ours = {name: value for name, value in ours.items() if name not in given}
    return make_conninfo(url, options=" ".join(part for part in parts if part), **ours)


def connect(settings: Settings, role: Role | None) -> psycopg.Connection:
    """Opens a connection; a `with` block commits its transaction, or rolls it back on an error, and closes it."""
    return psycopg.connect(conninfo(settings, role), connect_timeout=10)
