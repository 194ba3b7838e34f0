"""The security facts of a database session: its role, row-level security, UTC and the search path.

A connection pooler may drop start-up options silently (PgBouncer's `ignore_startup_parameters`), and in transaction mode each
transaction can have another session of the server. So the API, which works behind any pooler, sets these facts inside each
transaction. Every other process needs a session of its own, and refuses one that is not what it has to be.
"""

from __future__ import annotations

from typing import Literal

import psycopg

from api.errors import SessionError

Role = Literal["mailmart_owner", "mailmart_api", "mailmart_worker", "mailmart_analyst"]
FACTS = """
    select current_user::text, current_setting('row_security'), current_setting('timezone'), rolsuper or rolbypassrls
    from pg_catalog.pg_roles
    where rolname = current_user
"""
HINT = (
    "A connection pooler dropped the start-up options. Only `mailmart serve` can connect through such a pooler: set"
    " MAILMART_DATABASE_URL of every other process to PostgreSQL itself."
)


def transaction_settings(role: Role, *, statement_timeout_seconds: int) -> list[str]:
    """The statements that begin a transaction of the API, whatever session it has."""
    return [
        f"set local role {role}",
        "set local row_security = on",
        "set local timezone = 'UTC'",
        "set local search_path = pg_catalog, pg_temp",
        f"set local statement_timeout = {statement_timeout_seconds * 1000}",
    ]


def check_transaction(connection: psycopg.Connection, settings: list[str], role: Role) -> None:
    """Checks a new connection in autocommit mode: a transaction that begins with the settings has the role.

    Raises:
        SessionError: it does not, or the role is not bound by row-level security.
    """
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("; ".join(settings).encode())
            check_session(connection, role)
    except psycopg.errors.InsufficientPrivilege as error:
        raise SessionError(
            f"the database login cannot take the role {role}: {str(error).strip()}",
            hint=f"Run `mailmart migrate` with the login that owns the database, or `grant {role}` to this login.",
        ) from error


def check_session(connection: psycopg.Connection, role: Role) -> None:
    """Checks that the session, or the transaction, has the role and that row-level security binds it.

    Raises:
        SessionError: it does not.
    """
    _check(connection.execute(FACTS).fetchone(), role)


async def check_async_session(connection: psycopg.AsyncConnection, role: Role) -> None:
    """See `check_session`."""
    _check(await (await connection.execute(FACTS)).fetchone(), role)


def _check(facts: tuple[str, str, str, bool] | None, role: Role) -> None:
    current_role, row_security, timezone, bypasses_rls = facts or ("none", "", "", True)
    if current_role != role:
        raise SessionError(f"the database session has the role {current_role}, not {role}", hint=HINT)
    if bypasses_rls and role != "mailmart_owner":
        raise SessionError(
            f"the role {role} bypasses row-level security: it would see every tenant",
            hint=f"alter role {role} nosuperuser nobypassrls;",
        )
    if row_security != "on" or timezone != "UTC":
        raise SessionError(
            f"the database session has row_security = {row_security} and timezone = {timezone}, not on and UTC", hint=HINT
        )
