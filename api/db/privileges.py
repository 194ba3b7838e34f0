"""What is of the database itself: who may connect and make temporary tables or large objects, and its time limit for idle people.

The privileges on mailmart's own tables and functions are in the migrations. A copy of the database (`create database … template`,
a restored dump) does not have those of the database and of PostgreSQL's own functions, so each `migrate` looks again.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from api.embedded.postgres import LARGE_OBJECT_FUNCTIONS, REVOKE_LARGE_OBJECTS

MAY_ANYBODY_CREATE_LARGE_OBJECTS = """
    select exists (
        select from unnest(%s::text[]) as functions (signature)
        where has_function_privilege('mailmart_api', to_regprocedure('pg_catalog.' || functions.signature), 'execute')
    )
"""

# a transaction that somebody forgets makes builds wait. Mailmart's processes set their own limit.
IDLE_IN_TRANSACTION = "10min"
HAS_IDLE_LIMIT = """
    select exists (
        select from pg_catalog.pg_db_role_setting
        cross join unnest(setconfig) as setting
        where
            setdatabase = (select oid from pg_catalog.pg_database where datname = current_database())
            and setrole = 0
            and setting like 'idle\\_in\\_transaction\\_session\\_timeout=%'
    )
"""


def restrict_database(connection: psycopg.Connection) -> str | None:
    """Revokes from everybody what this login may revoke, grants what our roles need, and sets the time limit.

    Does so in the caller's transaction.

    Returns:
        The statement that a superuser has to run in this database, or None if nothing is left to do.
    """
    row = connection.execute(
        "select current_database(), pg_has_role(datdba, 'usage') from pg_catalog.pg_database where datname = current_database()"
    ).fetchone()
    if row is not None and row[1]:
        database = sql.Identifier(row[0])
        connection.execute(sql.SQL("revoke temporary on database {} from public").format(database))
        connection.execute(sql.SQL("grant create, temporary, connect on database {} to mailmart_owner").format(database))
        connection.execute(
            sql.SQL("grant temporary, connect on database {} to mailmart_analyst, mailmart_workspace_analyst").format(database)
        )
        connection.execute(
            sql.SQL("grant connect on database {} to mailmart_api, mailmart_worker, mailmart_intake").format(database)
        )
        if connection.execute(HAS_IDLE_LIMIT.encode()).fetchone() == (False,):
            limit = sql.SQL("alter database {} set idle_in_transaction_session_timeout = {}")
            connection.execute(limit.format(database, IDLE_IN_TRANSACTION))
    if not _may_create_large_objects(connection):
        return None
    if connection.execute("select rolsuper from pg_catalog.pg_roles where rolname = current_user").fetchone() == (True,):
        connection.execute(REVOKE_LARGE_OBJECTS.encode())
        return None
    return REVOKE_LARGE_OBJECTS


def _may_create_large_objects(connection: psycopg.Connection) -> bool:
    return connection.execute(MAY_ANYBODY_CREATE_LARGE_OBJECTS, (list(LARGE_OBJECT_FUNCTIONS),)).fetchone() == (True,)
