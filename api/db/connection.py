"""Connections to PostgreSQL, each under the role that its task needs."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.db.session import Role, check_server, check_session, startup_options
from api.errors import SessionError, SettingsError
from api.settings import Settings, embedded_database_url

CONNECT_TIMEOUT_SECONDS = 10
# each side notices within 15 s that the other machine is unreachable; the end of a process is noticed at once
KEEPALIVES = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3"}
# the limit for data that is sent and not acknowledged; not for the owner: during a bulk load, a busy server may pause reading
SEND_TIMEOUT = {"tcp_user_timeout": "10000"}
OPTIONS = f"-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 {startup_options()}"
# no object of ours is looked up by a path; migrations keep the login's own, in which yoyo's tables were made
SEARCH_PATH = "-c search_path=public,pg_temp"


def conninfo(settings: Settings, role: Role | None, *, options: str = "") -> str:
    """The libpq connection string of the settings' database; its sessions have `role`, or the login's own for None.

    `options` are further start-up options (`-c name=value`). The role is a start-up option, so nothing runs before it is set, and
    `reset role` returns to it. Sessions are in UTC, and have the formats of api/db/session.py.

    Raises:
        SettingsError: no database is configured and the embedded one was never started, or the URL is invalid.
    """
    url = settings.database_url or embedded_database_url(settings.home)
    try:
        params = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # psycopg's error contains the URL with its password
        raise SettingsError(
            "MAILMART_DATABASE_URL is not a connection string",
            hint="Write it as postgresql://login:password@host:port/database.",
        ) from None
    own = f"{SEARCH_PATH} -c role={role}" if role else ""
    parts = [str(params.get("options") or ""), OPTIONS, own, options]
    defaults = {"application_name": "mailmart", **KEEPALIVES, **({} if role == "mailmart_owner" else SEND_TIMEOUT)}
    # the URL overrides them
    defaults = {name: value for name, value in defaults.items() if name not in params}
    return make_conninfo(url, options=" ".join(part for part in parts if part), **defaults)


def connect(settings: Settings, role: Role | None, *, autocommit: bool = False, options: str = "") -> psycopg.Connection:
    """Opens a connection. A `with` block commits its transaction, or rolls back on an error, and closes it.

    Raises:
        SettingsError: see `conninfo`.
        SessionError: the session does not have the role or the formats, or the server is too old.
        psycopg.OperationalError: the database is unavailable.
    """
    try:
        connection = psycopg.connect(
            conninfo(settings, role, options=options), autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS
        )
    except psycopg.OperationalError as error:
        # the server has answered: it does not know the role
        if role is not None and f'"{role}"' in str(error):
            _explain_missing_role(settings, role, error)
        raise
    try:
        check_server(connection)
        if role is not None:
            check_session(connection, role)
        connection.autocommit = autocommit
    except BaseException:
        connection.close()
        raise
    return connection


def _explain_missing_role(settings: Settings, role: Role, error: psycopg.OperationalError) -> None:
    """Says why the server does not know the role: it is too old for a migration, or the database was never migrated."""
    with connect(settings, None) as connection:
        if connection.execute("select to_regrole(%s) is null", (role,)).fetchone() == (True,):
            raise SessionError(
                "the database is not migrated to this release", hint="Run `mailmart migrate`, then try again."
            ) from error
