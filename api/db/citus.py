"""Citus: distributes the tables of core over the nodes of a cluster (`mailmart migrate --citus`). See decision 175.

What only such a database has is in citus_functions.sql, not in a migration: an anchor table, a few functions, and variants of
functions that look up or change rows of core. Each `mailmart migrate` makes them again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from api.db.citus_queries import is_distributed
from api.db.connection import connect
from api.db.session import SESSION_SETTINGS
from api.errors import MailmartError
from api.settings import Settings

LOG = logging.getLogger(__name__)

FUNCTIONS = Path(__file__).parent / "citus_functions.sql"
OLDEST_VERSION = (13, 0)
# DDL of migrations and of dbt is for the coordinator. What is for all nodes asks for it: app.propagate_ddl().
WITHOUT_PROPAGATION = "-c citus.enable_ddl_propagation=off -c citus.enable_create_role_propagation=off"
# Citus connects to a node under the role of the session, and copies the privileges of a schema to each node
ROLES_ON_NODES = (
    "mailmart_owner",
    "mailmart_api",
    "mailmart_worker",
    "mailmart_intake",
    "mailmart_analyst",
    "mailmart_workspace_analyst",
)
# functions that models, policies and erasures call for rows of core; they read no table
FUNCTIONS_ON_NODES = (
    "app.mask_addresses(text)",
    "app.bare_domain(text)",
    "app.message_key(text, text)",
    "app.may_be_mentioned(text, jsonb)",
    "app.is_mentioned(text, jsonb)",
    "app.refuse_workspace_analyst()",
)
HAS_SETTING = """
    select exists (
        select from pg_catalog.pg_db_role_setting
        cross join unnest(setconfig) as setting
        where
            setdatabase = (select oid from pg_catalog.pg_database where datname = current_database())
            and setrole = 0
            and setting = 'citus.enable_ddl_propagation=off'
    )
"""
NODES = """
    select nodename, nodeport, groupid = 0, shouldhaveshards, isactive
    from pg_catalog.pg_dist_node
    where noderole = 'primary'
    order by groupid
"""
# texts have to be equal, and in the same order, on all of them
COLLATION = """
    select
        concat_ws(
            ' ', pg_encoding_to_char(encoding), datlocprovider, datcollate, datctype, to_jsonb(pg_database) ->> 'datlocale'
        )
    from pg_catalog.pg_database
    where datname = current_database()
"""
# that are to be distributed and are not, of every warehouse in this database
VERSIONED_TABLES = """
    select format('%I.%I', pg_namespace.nspname, pg_class.relname)
    from pg_class
    inner join pg_namespace on pg_class.relnamespace = pg_namespace.oid
    where
        (pg_namespace.nspname = 'core' or pg_namespace.nspname like '%\\_core')
        and pg_class.relkind = 'r'
        and exists (
            select from pg_attribute
            where attrelid = pg_class.oid and attname = 'valid_to' and not attisdropped
        )
        -- not those that only builds read and that have no workspace: they stay on the coordinator
        and (
            has_table_privilege('mailmart_api', pg_class.oid, 'select')
            or exists (
                select from pg_attribute
                where attrelid = pg_class.oid and attname = 'workspace_id' and not attisdropped
            )
        )
        and not exists (select from pg_dist_partition where logicalrelid = pg_class.oid)
    order by 1
"""
# the views that read tables of core, and whether they are in schemas of our own
DEPENDENT_VIEWS = """
    select distinct schemas.nspname, views.relname, schemas.nspname ~ '(^|_)(marts|marts_served)$'
    from pg_depend
    inner join pg_rewrite on pg_depend.objid = pg_rewrite.oid
    inner join pg_class as views on pg_rewrite.ev_class = views.oid
    inner join pg_namespace as schemas on views.relnamespace = schemas.oid
    inner join pg_class as tables on pg_depend.refobjid = tables.oid
    inner join pg_namespace as table_schemas on tables.relnamespace = table_schemas.oid
    where
        pg_depend.classid = 'pg_rewrite'::regclass
        and pg_depend.refclassid = 'pg_class'::regclass
        and table_schemas.nspname ~ '(^|_)(core|marts|marts_served)$'
        and views.oid <> tables.oid
    order by 1, 2
"""
MART_VIEWS = """
    select schemaname, viewname from pg_views
    where schemaname ~ '(^|_)(marts|marts_served)$' and pg_has_role(viewowner, 'usage')
    order by 1, 2
"""


@dataclass(frozen=True)
class Node:
    """A node of the cluster."""

    host: str
    port: int
    is_coordinator: bool
    has_shards: bool
    is_active: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def keep_ddl_on_coordinator(settings: Settings) -> None:
    """Sets for the database that DDL reaches no other node. Sessions that are open keep what they have.

    Raises:
        MailmartError: this login may not.
    """
    with connect(settings, None) as connection:
        if connection.execute(HAS_SETTING.encode()).fetchone() == (True,):
            return
        row = connection.execute("select current_database()").fetchone()
        database = sql.Identifier(str(row[0]) if row else "")
        statement = sql.SQL("alter database {} set citus.enable_ddl_propagation = off").format(database)
        try:
            # only for this database, and not on the nodes
            connection.execute("set local citus.enable_ddl_propagation = off")
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege as error:
            raise MailmartError(
                "the database has the extension citus, and this login does not own the database",
                hint=f"As its owner: {statement.as_string()};",
            ) from error


def distribute_core(settings: Settings, progress: Callable[[str], None]) -> None:
    """Distributes the tables of core by workspace, and those that builds make from now on. Does nothing where that was done.

    Raises:
        MailmartError: the database is no coordinator with nodes, a role is missing on a node, or Citus refuses.
    """
    with connect(settings, None, autocommit=True, options=WITHOUT_PROPAGATION) as connection:
        nodes = _check_nodes(connection)
        _make_roles(connection, nodes)
        _set_formats(connection, nodes)
    with connect(settings, "mailmart_owner", options=WITHOUT_PROPAGATION) as connection:
        was_distributed = is_distributed(connection)
        connection.execute(FUNCTIONS.read_bytes())
        if not was_distributed:
            _make_anchor(connection)
    # before the tables: their policies call one of the functions
    _copy_functions(settings)
    with connect(settings, "mailmart_owner", options=WITHOUT_PROPAGATION) as connection:
        tables = [table for (table,) in connection.execute(VERSIONED_TABLES.encode())]
        if tables:
            _drop_views(connection)
        for table in tables:
            connection.execute("select app.distribute_built_table(%s)", (table,))
            progress(f"{table} is distributed")
    names = ", ".join(str(node) for node in nodes if node.has_shards)
    progress(f"core {'was distributed already' if was_distributed else 'is distributed by workspace'} over {names}")
    if tables:
        progress("the views of marts were removed: run `mailmart build` before the API, workers and the scheduler start again")


def update_functions(settings: Settings) -> None:
    """Makes the functions again, on all nodes. Does nothing if core is not distributed.

    Raises:
        MailmartError: a node cannot have them.
    """
    with connect(settings, "mailmart_owner", options=WITHOUT_PROPAGATION) as connection:
        if not is_distributed(connection):
            return
        connection.execute(FUNCTIONS.read_bytes())
    _copy_functions(settings)


def _check_nodes(connection: psycopg.Connection) -> list[Node]:
    """The nodes of the cluster, if it can have tables of core.

    Raises:
        MailmartError: it cannot.
    """
    row = connection.execute("select extversion from pg_catalog.pg_extension where extname = 'citus'").fetchone()
    if row is None:
        raise MailmartError(
            "the database does not have the extension citus",
            hint="As a superuser, in this database of each node: create extension citus; or migrate without --citus.",
        )
    if tuple(int(part) for part in str(row[0]).split("-")[0].split(".")[:2]) < OLDEST_VERSION:
        raise MailmartError(
            f"the extension citus is {row[0]}: mailmart needs {'.'.join(map(str, OLDEST_VERSION))} or later",
            hint="Install a newer package on each node, then: alter extension citus update;",
        )
    nodes = [Node(*row) for row in connection.execute(NODES.encode()).fetchall()]
    if connection.execute("select groupid from pg_catalog.pg_dist_local_group").fetchone() != (0,):
        raise MailmartError(
            "this is a worker node of a Citus cluster", hint="Set MAILMART_DATABASE_URL to the coordinator, and migrate there."
        )
    if not any(node.is_coordinator for node in nodes):
        raise MailmartError(
            "the coordinator is not in the cluster's list of nodes, which reference tables need",
            hint="As a superuser: select citus_set_coordinator_host('HOST', PORT);",
        )
    if not any(node.has_shards for node in nodes):
        raise MailmartError(
            "the Citus cluster has no node that may have shards",
            hint="As a superuser, for each node: select citus_add_node('HOST', PORT);",
        )
    inactive = [str(node) for node in nodes if not node.is_active]
    if inactive:
        raise MailmartError(
            f"nodes of the cluster are not active: {', '.join(inactive)}",
            hint="As a superuser: select citus_activate_node('HOST', PORT); or citus_remove_node.",
        )
    _check_collations(connection, nodes)
    return nodes


def _check_collations(connection: psycopg.Connection, nodes: list[Node]) -> None:
    """
    Raises:
        MailmartError: a node is not reachable, or its database orders texts in another way.
    """
    row = connection.execute(COLLATION.encode()).fetchone()
    for node in nodes:
        succeeded, collation = _run_on_node(connection, node, COLLATION)
        if not succeeded:
            raise MailmartError(
                f"the coordinator does not reach the node {node}: {collation}",
                hint="It connects as MAILMART_DATABASE_URL's login: see the node's pg_hba.conf, and the coordinator's .pgpass.",
            )
        if row is not None and collation != row[0]:
            raise MailmartError(
                f"the database of the node {node} has another encoding or collation than the coordinator's:"
                f" {collation}, not {row[0]}",
                hint="Create the databases with the same encoding, locale provider and locale.",
            )


def _make_roles(connection: psycopg.Connection, nodes: list[Node]) -> None:
    """Makes the roles on all nodes, able to log in, because Citus connects to a node under the session's role.

    On the coordinator, too: Citus gives the roles of the nodes the attributes that they have there. They have no password.

    Raises:
        MailmartError: this login may not; the hint has the statements.
    """
    for node in nodes:
        missing = [role for role in ROLES_ON_NODES if not _can_log_in(connection, node, role)]
        for role in missing:
            name = sql.Identifier(role).as_string(connection)
            literal = sql.Literal(role).as_string(connection)
            statement = (
                f"do $$ begin if exists (select from pg_catalog.pg_roles where rolname = {literal})"
                f" then alter role {name} login; else create role {name} login; end if; end $$"
            )
            succeeded, answer = _run_on_node(connection, node, statement)
            if not succeeded:
                statements = " ".join(f"create role {each} login;" for each in missing)
                raise MailmartError(
                    f"the node {node} has no role {role} that may log in, and this login cannot make it: {answer}",
                    hint=f"As a superuser, on that node: {statements} And let the coordinator connect as them (pg_hba.conf).",
                )


def _set_formats(connection: psycopg.Connection, nodes: list[Node]) -> None:
    """Sets for the database of each node what our own sessions set: the coordinator's sessions do not pass it on.

    On a node in another time zone, a time that is cast to a date would be another day.

    Raises:
        MailmartError: this login may not; the hint has the statements.
    """
    row = connection.execute("select current_database()").fetchone()
    database = sql.Identifier(str(row[0]) if row else "")
    statements = [
        sql.SQL("alter database {} set {} = {}")
        .format(database, sql.Identifier(name.lower()), _value(value))
        .as_string(connection)
        for name, value in SESSION_SETTINGS.items()
    ]
    for node in nodes:
        if node.is_coordinator:
            continue
        block = "; ".join(("perform set_config('citus.enable_ddl_propagation', 'off', true)", *statements))
        succeeded, answer = _run_on_node(connection, node, f"do $$ begin {block}; end $$")
        if not succeeded:
            raise MailmartError(
                f"this login cannot change the database of the node {node}: {answer}",
                hint=f"As its owner, on that node: {'; '.join(statements)}",
            )


def _value(value: str) -> sql.Composed:
    # a list, such as that of DateStyle
    return sql.SQL(", ").join(sql.Literal(part.strip()) for part in value.split(","))


def _can_log_in(connection: psycopg.Connection, node: Node, role: str) -> bool:
    literal = sql.Literal(role).as_string(connection)
    return _run_on_node(
        connection,
        node,
        f"select exists (select from pg_catalog.pg_roles where rolname = {literal} and rolcanlogin)",  # noqa: S608
    ) == (True, "t")


def _run_on_node(connection: psycopg.Connection, node: Node, statement: str) -> tuple[bool, str]:
    row = connection.execute(
        "select success, result from master_run_on_worker(array[%s]::text[], array[%s]::int[], array[%s]::text[], false)",
        (node.host, node.port, statement),
    ).fetchone()
    return (bool(row[0]), str(row[1]).strip()) if row else (False, "")


def _drop_views(connection: psycopg.Connection) -> None:
    """Drops the views of marts, which Citus would copy to each node. The next build makes them anew, with the marks for the API.

    The publication that is served has no views until then, and earlier ones, to which a rollback could go back, are removed.

    Raises:
        MailmartError: somebody's own view reads a table of core.
    """
    own = [f"{schema}.{name}" for schema, name, is_ours in connection.execute(DEPENDENT_VIEWS.encode()) if not is_ours]
    if own:
        raise MailmartError(
            f"views that are not mailmart's read tables of core: {', '.join(own)}",
            hint="Drop them, and create them again afterwards.",
        )
    for schema, name in connection.execute(MART_VIEWS.encode()).fetchall():
        connection.execute(sql.SQL("drop view if exists {} cascade").format(sql.Identifier(schema, name)))
    connection.execute("delete from app.view_definitions")
    connection.execute(
        "delete from app.publications where not exists (select from app.current_publication"
        " where current_publication.target = publications.target and current_publication.batch_id = publications.batch_id)"
    )


def _make_anchor(connection: psycopg.Connection) -> None:
    """Makes the table that all tables of core are colocated with. It is what says that core is distributed."""
    try:
        connection.execute("select app.propagate_ddl(true)")
        connection.execute("create table app.workspace_shards (workspace_id text primary key)")
        connection.execute(
            "comment on table app.workspace_shards is 'What the tables of core are colocated with on Citus. It has no rows.'"
        )
        connection.execute("select create_distributed_table('app.workspace_shards', 'workspace_id', colocate_with => 'none')")
        connection.execute("select app.propagate_ddl(false)")
    except psycopg.Error as error:
        raise MailmartError(
            f"Citus cannot make a distributed table: {str(error).strip().splitlines()[0]}",
            hint="The coordinator has to connect to each node as mailmart_owner: see docs/how-to/operators/citus.md.",
        ) from error


def _copy_functions(settings: Settings) -> None:
    """Creates on each node the functions that queries call there, or replaces them.

    Raises:
        MailmartError: a node cannot have them.
    """
    # each statement is a transaction: the nodes' own sessions wait for it
    with connect(settings, "mailmart_owner", autocommit=True) as connection:
        connection.execute("set citus.enable_ddl_propagation = on")
        for signature in FUNCTIONS_ON_NODES:
            row = connection.execute("select pg_get_functiondef(%s::regprocedure)", (signature,)).fetchone()
            assert row is not None  # noqa: S101 - the query always returns a row
            try:
                # also for nodes that are added later
                connection.execute("select create_distributed_function(%s::regprocedure)", (signature,))
                # on nodes that have it, too
                connection.execute(row[0].encode())
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                message = str(error).strip().splitlines()[0]
                raise MailmartError(f"the nodes cannot have the function {signature}: {message}") from error
