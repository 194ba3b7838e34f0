"""Connections to PostgreSQL, each under the role that its task needs."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.db.session import DIRECT_HINT, Role, check_server, check_session, startup_options
from api.errors import SessionError, SettingsError
from api.settings import Settings, embedded_database_url

CONNECT_TIMEOUT_SECONDS = 10
# each side notices within 15 s that the other machine is unreachable; the end of a process is noticed at once
KEEPALIVES = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3"}
# the limit for data that is sent and not acknowledged; not for the owner: during a bulk load, a busy server may pause reading
SEND_TIMEOUT = {"tcp_user_timeout": "10000"}
OPTIONS = f"-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 {startup_options()}"
# PgBouncer's sentence, before it looks at the login; it speaks English only
REFUSED_OPTIONS = "unsupported startup parameter"
REFUSED_MESSAGE = "a connection pooler refuses the start-up options of database sessions"
# no setting of PostgreSQL's: a session has it only if its start-up options arrived
OPTIONS_ARRIVED = "mailmart.start_options"
# no object of ours is looked up by a path; migrations keep the login's own, in which yoyo's tables were made
SEARCH_PATH = "-c search_path=public,pg_temp"

ROLE_PURPOSES: dict[Role, str] = {
    "mailmart_owner": "builds, migrates, loads events and creates keys and sources",
    "mailmart_api": "answers requests",
    "mailmart_intake": "stores webhooks",
    "mailmart_worker": "writes exports, delivers reports and runs scheduled jobs",
    "mailmart_analyst": "reads the marts of all workspaces",
}


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
            f"{settings.database_url_variable} is not a connection string",
            hint="Write it as postgresql://login:password@host:port/database.",
        ) from None
    own = f"{SEARCH_PATH} -c role={role}" if role else ""
    parts = [str(params.get("options") or ""), OPTIONS, f"-c {OPTIONS_ARRIVED}=yes", own, options]
    defaults = {"application_name": "mailmart", **KEEPALIVES, **({} if role == "mailmart_owner" else SEND_TIMEOUT)}
    # the URL overrides them
    defaults = {name: value for name, value in defaults.items() if name not in params}
    return make_conninfo(url, options=" ".join(part for part in parts if part), **defaults)


def connect(settings: Settings, role: Role | None, *, autocommit: bool = False, options: str = "") -> psycopg.Connection:
    """Opens a connection. A `with` block commits its transaction, or rolls back on an error, and closes it.

    Raises:
        SettingsError: see `conninfo`.
        SessionError: the login may not take the role, the session does not have it or its formats, the server is too old, or a
            connection pooler refused or dropped the start-up options.
        psycopg.OperationalError: the database is unavailable.
    """
    try:
        connection = psycopg.connect(
            conninfo(settings, role, options=options), autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS
        )
    except psycopg.OperationalError as error:
        if REFUSED_OPTIONS in str(error):
            raise SessionError(REFUSED_MESSAGE, hint=DIRECT_HINT) from error
        # the server's sentence is in the server's language, and has the role's name in each
        if role is not None and role in str(error):
            _check_membership(settings, role)
        raise
    try:
        check_server(connection)
        if role is not None:
            check_session(connection, role)
        else:
            _check_options(connection)
        connection.autocommit = autocommit
    except BaseException:
        connection.close()
        raise
    return connection


def _check_options(connection: psycopg.Connection) -> None:
    """Checks a session under the login's own role, which says nothing about a pooler.

    In transaction mode, the advisory lock of a migration would stay with a session of the pooler, and block the next migration
    until that session ends.

    Raises:
        SessionError: the start-up options did not arrive.
    """
    row = connection.execute(f"select current_setting('{OPTIONS_ARRIVED}', true)").fetchone()
    if row != ("yes",):
        raise SessionError("a connection pooler dropped the start-up options of a database session", hint=DIRECT_HINT)


def _check_membership(settings: Settings, role: Role) -> None:
    """Says why the server refused a session with the role.

    Raises:
        SessionError: the server is too old, the database has no such role, or the login is not a member of it.
    """
    with connect(settings, None) as connection:
        row = connection.execute(
            "select session_user::text, (select pg_has_role(oid, 'set') from pg_catalog.pg_roles where rolname = %s)", (role,)
        ).fetchone()
    login, is_member = row or ("", None)
    if is_member is None:
        raise SessionError(
            f"the database is not migrated to this release: it has no role {role}",
            hint="Run `mailmart migrate` with the login that owns the database.",
        )
    if not is_member:
        raise SessionError(
            f"the login {login} may not take the role {role}, which {ROLE_PURPOSES[role]}",
            hint=f"Use the login for that (docs/how-to/operators/logins.md), or `grant {role} to {login};`.",
        )
