"""Tests on a Citus cluster: MAILMART_TEST_CITUS_URL is a superuser's connection string of a database of a coordinator with nodes.

With MAILMART_TEST_SERVER of the same coordinator and MAILMART_TEST_DISTRIBUTED=1, every test's database is one of the cluster,
and the tables of its core are distributed. The superuser has to be one of each node, too, with the same password.

With MAILMART_TEST_CITUS_VARIANTS=1, every test's database on a server without Citus has the SQL that is for Citus (`stand_in`):
that shows that its results are the same, not that Citus runs it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.db.citus import FUNCTIONS
from api.db.connection import connect
from api.settings import Settings

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

VARIABLE = "MAILMART_TEST_CITUS_URL"
DISTRIBUTED = "MAILMART_TEST_DISTRIBUTED"
VARIANTS = "MAILMART_TEST_CITUS_VARIANTS"


def is_distributed() -> bool:
    """Whether the databases of this run are distributed."""
    return bool(os.environ.get(DISTRIBUTED))


def nodes() -> list[tuple[str, int]]:
    """The workers, and the coordinator as the last one."""
    with psycopg.connect(os.environ[VARIABLE]) as connection:
        found = connection.execute(
            "select nodename, nodeport from pg_dist_node where noderole = 'primary' order by groupid = 0, groupid"
        ).fetchall()
    assert len(found) > 1, f"the database of {VARIABLE} has no worker nodes"
    return found


def create_database(name: str, template: str | None, owner: sql.Identifier) -> None:
    """Makes a database on each node. A copy on each node of a distributed database is a distributed database."""
    for host, port in nodes():
        with _superuser(host, port) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
            _make_login(connection, owner)
            source: sql.Composable = sql.SQL("template0")
            if template is not None:
                source = sql.Identifier(template)
                # the extension's own process
                connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (template,))
            connection.execute(
                sql.SQL("create database {} template {} strategy file_copy owner {}").format(sql.Identifier(name), source, owner)
            )
            if template is not None:
                _copy_settings(connection, template, name)
        if template is None:
            with _superuser(host, port, name) as connection:
                # as the servers of a cluster can have it
                connection.execute(sql.SQL("alter database {} set timezone = 'Asia/Kolkata'").format(sql.Identifier(name)))
                connection.execute("create extension citus")
    if template is None:
        *workers, coordinator = nodes()
        with _superuser(*coordinator, name) as connection:
            connection.execute("select citus_set_coordinator_host(%s, %s)", coordinator)
            for worker in workers:
                connection.execute("select citus_add_node(%s, %s)", worker)
            connection.execute("select citus_set_node_property(%s, %s, 'shouldhaveshards', false)", coordinator)


def drop_database(name: str) -> None:
    """Drops it on each node."""
    for host, port in nodes():
        with _superuser(host, port) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


@contextmanager
def unavailable(database: str, host: str, port: int) -> Iterator[None]:
    """Meanwhile nobody can connect to the database of a node."""
    name = sql.Identifier(database)
    with _superuser(host, port) as connection:
        connection.execute(sql.SQL("alter database {} allow_connections false").format(name))
        try:
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (database,))
            yield
        finally:
            connection.execute(sql.SQL("alter database {} allow_connections true").format(name))


def url(database: str) -> str:
    """The superuser's connection string of a database of the coordinator."""
    return make_conninfo(os.environ[VARIABLE], dbname=database)


def _copy_settings(connection: psycopg.Connection, template: str, name: str) -> None:
    """PostgreSQL does not copy them with a database."""
    settings = connection.execute(
        "select split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)"
        " from pg_db_role_setting cross join unnest(setconfig) as setting"
        " where setrole = 0 and setdatabase = (select oid from pg_database where datname = %s)",
        (template,),
    ).fetchall()
    for setting, value in settings:
        values = sql.SQL(", ").join(sql.Literal(part.strip()) for part in value.split(","))
        connection.execute(
            sql.SQL("alter database {} set {} = {}").format(sql.Identifier(name), sql.Identifier(*setting.split(".")), values)
        )


def _make_login(connection: psycopg.Connection, owner: sql.Identifier) -> None:
    name = owner.as_string(connection).strip('"')
    if connection.execute("select from pg_roles where rolname = %s", (name,)).fetchone() is None:
        connection.execute(sql.SQL("create role {} login createrole").format(owner))


def _superuser(host: str, port: int, database: str = "postgres") -> psycopg.Connection:
    conninfo = make_conninfo(os.environ[VARIABLE], host=host, port=port, dbname=database)
    connection = psycopg.connect(conninfo, autocommit=True)
    connection.execute("set citus.enable_create_database_propagation = off")
    connection.execute("set citus.enable_create_role_propagation = off")
    return connection


def stand_in(settings: Settings, server: PostgresServer) -> None:
    """Makes a database without Citus run the functions, macros and queries that are for Citus. Nothing is distributed."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(FUNCTIONS.read_bytes())
        connection.execute(
            "create or replace function app.distribute(relation regclass, is_reference boolean default false) returns void"
            " language sql as ''"
        )
        connection.execute("create table app.workspace_shards (workspace_id text primary key)")
    name = str(conninfo_to_dict(str(settings.database_url))["dbname"])
    with psycopg.connect(make_conninfo(server.superuser, dbname=name), autocommit=True) as superuser:
        superuser.execute("create function public.create_distributed_function(text) returns void language sql as ''")
