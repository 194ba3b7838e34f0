"""Creates and migrates procrastinate's tables, in a schema of their own, to the version of the installed package."""

from __future__ import annotations

from importlib.resources import files

import psycopg
from procrastinate.schema import SchemaManager
from psycopg import sql

SCHEMA = "procrastinate"


def migrate_queue(connection: psycopg.Connection) -> list[str]:
    """Creates the tables, or applies the package's missing migrations; in the caller's transaction, as the owner.

    The package ships numbered SQL files and does not record which were applied: the table applied_migrations does.

    Returns:
        The names of the migrations that an existing schema needed.
    """
    migrations = files("procrastinate.sql").joinpath("migrations")
    shipped = sorted(file.name for file in migrations.iterdir() if file.name.endswith(".sql"))
    connection.execute("set local role mailmart_owner")
    connection.execute(sql.SQL("set local search_path = {}, pg_temp").format(sql.Identifier(SCHEMA)))
    is_new = connection.execute("select to_regnamespace(%s) is null", (SCHEMA,)).fetchone() == (True,)
    if is_new:
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(SCHEMA)))
        connection.execute("create table applied_migrations (name text primary key)")
        _run(connection, SchemaManager.get_schema())
        applied = shipped
    else:
        known = {name for (name,) in connection.execute("select name from applied_migrations")}
        applied = [name for name in shipped if name not in known]
        for name in applied:
            _run(connection, migrations.joinpath(name).read_text(encoding="utf-8"))
    with connection.cursor() as cursor:
        cursor.executemany("insert into applied_migrations (name) values (%s)", [(name,) for name in applied])
    connection.execute(GRANTS)
    connection.execute("reset role")
    return [] if is_new else [f"procrastinate {name}" for name in applied]


def _run(connection: psycopg.Connection, script: str) -> None:
    connection.execute(script.encode())


# The API's role has no rights here: it enqueues jobs through functions of the schema app. Each run grants all of them, so that a
# privilege that is no longer in this list goes from databases that exist.
GRANTS = """
    revoke all on all functions in schema procrastinate from public;
    grant usage on schema procrastinate to mailmart_worker;
    grant select, insert, update, delete on all tables in schema procrastinate to mailmart_worker;
    revoke all on procrastinate.applied_migrations from mailmart_worker;
    grant usage on all sequences in schema procrastinate to mailmart_worker;
    grant execute on all functions in schema procrastinate to mailmart_worker;
"""
