"""A scratch database of a server that runs already, for `mailmart bench batch` and `bench api`: what does my own hardware do?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.db.citus import distribute_core
from api.db.connection import CONNECT_TIMEOUT_SECONDS
from api.db.timescale import make_hypertables
from api.errors import MailmartError, SettingsError
from api.settings import Settings

OPTION = "--database-url"
# the database in which another one is created and dropped
MAINTENANCE = "postgres"
SECONDS_TO_RESTART = 60.0
# what is in the database and belongs to no extension: relations, functions and schemas
CONTENT = """
    with system_schemas as (
        select oid from pg_namespace
        where
            nspname in ('pg_catalog', 'information_schema', 'pg_toast')
            or nspname like 'pg\\_temp\\_%' or nspname like 'pg\\_toast\\_temp\\_%'
    ),

    of_extensions as (
        select classid, objid from pg_depend where deptype = 'e' and refclassid = 'pg_extension'::regclass
    ),

    content as (
        select 'pg_class'::regclass as classid, oid as objid, oid::regclass::text as name from pg_class
        where relnamespace not in (select oid from system_schemas) and relkind in ('r', 'p', 'v', 'm', 'f', 'S')
        union all
        select 'pg_proc'::regclass, oid, oid::regprocedure::text from pg_proc
        where pronamespace not in (select oid from system_schemas)
        union all
        select 'pg_namespace'::regclass, oid, nspname::text from pg_namespace
        where oid not in (select oid from system_schemas) and nspname <> 'public'
    )

    select
        name,
        classid = 'pg_namespace'::regclass as is_schema
    from content
    left join of_extensions using (classid, objid)
    where of_extensions.objid is null
    order by is_schema desc, name
"""
SCHEMAS = """
    select nspname, pg_get_userbyid(nspowner) from pg_namespace
    where
        nspname not in ('information_schema', 'public')
        and nspname not like 'pg\\_%'
        and not exists (
            select from pg_depend
            where classid = 'pg_namespace'::regclass and objid = pg_namespace.oid and deptype = 'e'
        )
    -- core first: it is what is on the nodes
    order by nspname <> 'core', nspname
"""
HAS_NODES = "select exists (select from pg_catalog.pg_extension where extname = 'citus')"


@dataclass(frozen=True)
class OtherServer:
    """Where to measure.

    Attributes:
        url: connection string of the scratch database. If there is none of that name, it is created, and dropped afterwards.
            If there is, it has to be empty, and is empty afterwards.
        timescale: the raw logs are hypertables.
        citus: core is distributed over the nodes. The database exists on each of them, with the extension.
    """

    url: str
    timescale: bool = False
    citus: bool = False

    def prepare(self, scratch: Settings, progress: Callable[[str], None]) -> None:
        """Makes what the options ask for, in a migrated database."""
        if self.timescale:
            make_hypertables(scratch, progress)
        if self.citus:
            distribute_core(scratch, progress)


@contextmanager
def scratch_database(server: OtherServer) -> Iterator[None]:
    """Makes the database, or takes one that is empty, and leaves nothing of the benchmark behind.

    Raises:
        MailmartError: the database has content, or cannot be made.
        SettingsError: the URL is no connection string.
    """
    try:
        name = str(conninfo_to_dict(server.url).get("dbname") or "")
    except psycopg.ProgrammingError:
        # psycopg's error contains the URL with its password
        raise SettingsError(
            f"{OPTION} is not a connection string", hint="Write it as postgresql://login:password@host:port/database."
        ) from None
    if not name:
        raise MailmartError(
            f"{OPTION} names no database", hint="Add the name of one that does not exist, for example …/mailmart_bench."
        )
    is_new = not _exists(server.url, name)
    if is_new:
        # a server whose locale was C when it was made has SQL_ASCII as its default
        create = sql.SQL("create database {} encoding 'UTF8' template template0").format(sql.Identifier(name))
        _in_maintenance_database(server.url, create)
    else:
        _check_empty(server.url, name)
    failed: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failed = error
        raise
    finally:
        _clean_up(server.url, name, is_new=is_new, failed=failed)


def _clean_up(url: str, name: str, *, is_new: bool, failed: BaseException | None) -> None:
    """Drops the database, or what was made in it. Waits for a server that is restarting: that can be why the benchmark failed.

    Raises:
        MailmartError: something of the benchmark is left; it says what, and why the benchmark had failed.
    """
    deadline = time.monotonic() + SECONDS_TO_RESTART
    while (error := _problem_with_removal(url, name, is_new=is_new)) is not None:
        is_unavailable = isinstance(error.__cause__ or error, psycopg.OperationalError)
        if is_unavailable and time.monotonic() < deadline:
            time.sleep(1)
            continue
        before = f"{_one_line(failed)}; and " if failed is not None else ""
        rest = f"drop database {name};" if is_new else f"remove what is in the database {name}, which was empty before."
        raise MailmartError(
            f"{before}the scratch database {name} of {OPTION} is left, because of: {_one_line(error)}",
            hint=f"When the server can be reached: {rest}",
        ) from failed


def _problem_with_removal(url: str, name: str, *, is_new: bool) -> Exception | None:
    try:
        if is_new:
            _in_maintenance_database(url, sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
        else:
            _remove_content(url, name)
    except (MailmartError, psycopg.OperationalError) as error:
        return error
    return None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _connect(url: str) -> psycopg.Connection:
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS, application_name="mailmart bench")
    except psycopg.OperationalError as error:
        database = conninfo_to_dict(url).get("dbname")
        raise MailmartError(
            # libpq says why in its first line
            f"the database {database} of {OPTION} cannot be reached: {' '.join(str(error).split())}",
            hint=f"Check address, port and login. The login also needs the database {MAINTENANCE}, to see whether another one"
            " exists, and to create it.",
        ) from error


def _exists(url: str, name: str) -> bool:
    with _connect(make_conninfo(url, dbname=MAINTENANCE)) as connection:
        row = connection.execute("select exists (select from pg_database where datname = %s)", (name,)).fetchone()
    return row == (True,)


def _in_maintenance_database(url: str, statement: sql.Composed) -> None:
    with _connect(make_conninfo(url, dbname=MAINTENANCE)) as connection:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege as error:
            raise MailmartError(
                f"this login may not create a database: {str(error).strip().splitlines()[0]}",
                hint="Use one that may (createdb), or create an empty database that the login owns.",
            ) from error


def _check_empty(url: str, name: str) -> None:
    with _connect(url) as connection:
        content = connection.execute(CONTENT.encode()).fetchall()
    if content:
        raise MailmartError(
            f"the database {name} is not empty: it has {len(content):,} objects, {content[0][0]} among them",
            hint=f"A benchmark needs a database of its own. Name one in {OPTION} that is empty or does not exist."
            " If it is left of a benchmark that was killed, drop it.",
        )


def _remove_content(url: str, name: str) -> None:
    """Removes what was made in a database that was empty, on all nodes of a cluster."""
    with _connect(url) as connection:
        # the sessions of a build that was ended
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name like 'mailmart%%' and pid <> pg_backend_pid()"
        )
        has_citus = connection.execute(HAS_NODES).fetchone() == (True,)
        if has_citus:
            connection.execute("set citus.enable_ddl_propagation = on")
        for schema, owner in connection.execute(SCHEMAS.encode()).fetchall():
            drop = sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(schema))
            # the login itself has no rights in the schemas of the nodes
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(owner)))
            connection.execute(drop)
            if has_citus:
                connection.execute("select run_command_on_workers(%s)", (drop.as_string(connection),))
            connection.execute("reset role")
        # yoyo's tables
        for relation, is_schema in connection.execute(CONTENT.encode()).fetchall():
            if not is_schema:
                connection.execute(f"drop table if exists {relation} cascade".encode())
        connection.execute(sql.SQL("alter database {} reset all").format(sql.Identifier(name)))
