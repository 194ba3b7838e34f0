"""The facts of a database session that security and answers depend on: role, row-level security, time zone, formats.

A server, a database and a login can each have other defaults (`alter role … set timezone`), and a connection pooler may drop
start-up options silently (PgBouncer's `ignore_startup_parameters`), and in transaction mode each transaction can have another
session of the server. So the API and the intake, which work behind any pooler, set these facts inside each transaction. Every
other process needs a session of its own, and refuses one that is not what it has to be. dbt sets them before each statement
(macros/overrides/statement.sql).
"""

from __future__ import annotations

from typing import Literal

import psycopg

from api.errors import SessionError

Role = Literal["mailmart_owner", "mailmart_api", "mailmart_worker", "mailmart_intake", "mailmart_analyst"]
OLDEST_SERVER, NEWEST_SERVER = 16, 18

# what a statement, or the driver that reads its result, depends on; PostgreSQL's own defaults, except for the time zone
FORMATS = {
    # a day is 24 hours, and a time that is cast to a date or to a text is that of UTC
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    # the shortest digits that are read back as the same number
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "client_encoding": "UTF8",
}
# a transaction that a default of the server makes read-only or serializable fails where it is not expected to
TRANSACTIONS = {
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
}
# the limits that a database or a login may have are for people; each process of ours sets its own
TIMEOUTS = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}
SESSION_SETTINGS = {**FORMATS, **TRANSACTIONS, **TIMEOUTS, "row_security": "on"}
# a task of ours may choose another isolation or time limit; the others are the same everywhere
CHECKED = {**FORMATS, "row_security": "on"}
FACTS = """
    select
        current_user::text,
        (select rolsuper or rolbypassrls from pg_catalog.pg_roles where rolname = current_user),
        array(select current_setting(name) from unnest(%s::text[]) with ordinality as names (name, place) order by place)
"""
DIRECT_HINT = (
    "Only `mailmart serve` and `intake` can connect through such a pooler: set MAILMART_DATABASE_URL of every other process to"
    " PostgreSQL itself."
)
HINT = (
    f"A connection pooler dropped the start-up options. {DIRECT_HINT}"
    " Or PGTZ, PGDATESTYLE or PGCLIENTENCODING is in the environment: unset it."
)


def startup_options() -> str:
    """The settings of every session, as libpq's start-up options, which override those of server, database and login."""
    # libpq separates options at white space, unless it is escaped
    return " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in SESSION_SETTINGS.items())


def transaction_config(role: Role, *, statement_timeout_seconds: int) -> dict[str, str]:
    """The settings (name → value) of a transaction of the API or of the intake, whatever session it has; the role first."""
    return {
        "role": role,
        "row_security": "on",
        "timezone": "UTC",
        "datestyle": "ISO, MDY",
        "extra_float_digits": "1",
        "search_path": "pg_catalog, pg_temp",
        "statement_timeout": str(statement_timeout_seconds * 1000),
    }


def transaction_settings(role: Role, *, statement_timeout_seconds: int) -> list[str]:
    """The statements that begin such a transaction."""
    config = transaction_config(role, statement_timeout_seconds=statement_timeout_seconds)
    # names, numbers and lists of names: none needs quotes
    return [f"set local {name} = {value}" for name, value in config.items()]


def check_transaction(connection: psycopg.Connection, settings: list[str], role: Role) -> None:
    """Checks a new connection in autocommit mode: a transaction that begins with the settings has the role.

    Raises:
        SessionError: it does not, or the role is not bound by row-level security.
    """
    check_server(connection)
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("; ".join(settings).encode())
            check_session(connection, role)
    except psycopg.errors.InsufficientPrivilege as error:
        raise SessionError(
            f"the database login cannot take the role {role}: {str(error).strip()}",
            hint=f"Run `mailmart migrate` with the login that owns the database, or `grant {role}` to this login.",
        ) from error


def check_server(connection: psycopg.Connection | psycopg.AsyncConnection) -> None:
    """Checks the server's release and the database's encoding, which the server has reported; asks it nothing.

    Raises:
        SessionError: PostgreSQL is too old, or the database cannot store every character.
    """
    major = connection.info.server_version // 10_000
    if major < OLDEST_SERVER:
        raise SessionError(
            f"the server is PostgreSQL {major}: mailmart needs PostgreSQL {OLDEST_SERVER} to {NEWEST_SERVER}",
            hint="Upgrade the server, or set MAILMART_DATABASE_URL to a newer one.",
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise SessionError(
            f"the encoding of the database is {encoding}: mailmart needs UTF8",
            hint="Create the database anew: create database … encoding 'UTF8' template template0.",
        )


def check_session(connection: psycopg.Connection, role: Role) -> None:
    """Checks that the session, or the transaction, has the role, that row-level security binds it, and the formats.

    Raises:
        SessionError: it does not.
    """
    _check(connection.execute(FACTS, [list(CHECKED)]).fetchone(), role)


async def check_async_session(connection: psycopg.AsyncConnection, role: Role) -> None:
    """See `check_session`."""
    check_server(connection)
    _check(await (await connection.execute(FACTS, [list(CHECKED)])).fetchone(), role)


def _check(facts: tuple[str, bool, list[str]] | None, role: Role) -> None:
    current_role, bypasses_rls, values = facts or ("none", True, [])
    if current_role != role:
        raise SessionError(f"the database session has the role {current_role}, not {role}", hint=HINT)
    if bypasses_rls and role != "mailmart_owner":
        raise SessionError(
            f"the role {role} bypasses row-level security: it would see every tenant",
            hint=f"alter role {role} nosuperuser nobypassrls;",
        )
    wrong = [
        f"{name} = {value}, not {expected}"
        for (name, expected), value in zip(CHECKED.items(), values, strict=True)
        if value != expected
    ]
    if wrong:
        raise SessionError(f"the database session has {'; '.join(wrong)}", hint=HINT)
