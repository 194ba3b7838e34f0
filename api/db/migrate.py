"""Applies the numbered migrations to a database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from yoyo import get_backend, read_migrations

from api.db.advisory_lock import sessions_with_advisory_locks
from api.db.citus import WITHOUT_PROPAGATION, keep_ddl_on_coordinator, update_functions
from api.db.citus_transactions import has_citus
from api.db.connection import connect, conninfo
from api.db.limits import write_limits
from api.db.lock_retry import LOCK_ERRORS, lock_problem, retry_while_locked
from api.db.privileges import restrict_database
from api.db.queue_schema import migrate_queue
from api.errors import MailmartError, SessionError
from api.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"
LOG = logging.getLogger(__name__)
LARGE_OBJECTS_WARNING = (
    "every role of this database may create large objects, and one of another owner makes pg_dump fail."
    " A superuser has to run in this database, once: %s"
)
LOCK_TIMEOUT = "-c lock_timeout=1s"
MAX_SECONDS_IN_USE = 300


def migrate(settings: Settings) -> list[str]:
    """Applies the missing migrations in order, and returns their names. Safe to run twice, and from several processes.

    An advisory lock, which ends with its connection, keeps two processes apart. So a lock row of yoyo's that is found under it
    was left by a process that was killed, and is removed.

    Also writes the limits of workspaces that are configured, revokes what PostgreSQL lets everybody do in a database, and logs a
    warning about what only a superuser can revoke.

    A migration waits for a table for a second at a time: a longer wait, for an analyst's open transaction, would make every later
    reader wait.

    Raises:
        SessionError: the server is too old, or the database cannot store every character.
        MailmartError: a table has been in use for minutes, and the message names the sessions; or a node of a Citus cluster
            cannot have a function.
    """
    with connect(settings, None) as guard:
        _check_collation(guard)
        _wait_for_other_migrations(guard, settings.target)
        options = LOCK_TIMEOUT
        if has_citus(guard):
            keep_ddl_on_coordinator(settings)
            guard.execute("set citus.enable_ddl_propagation = off")
            options += f" {WITHOUT_PROPAGATION}"
        applied: list[str] = []
        _retry(guard, lambda: _apply(settings, applied, options))
        _retry(guard, lambda: applied.extend(_migrate_queue(guard)))
        write_limits(settings)
        statement = restrict_database(guard)
        if statement is not None:
            LOG.warning(LARGE_OBJECTS_WARNING, statement)
        is_citus = has_citus(guard)
    if is_citus:
        # a migration may have replaced some; and the nodes' sessions would wait for the transaction above
        update_functions(settings)
    return applied


def _wait_for_other_migrations(guard: psycopg.Connection, target: str) -> None:
    """Takes the lock of migrations, and logs who has it if another session does."""
    row = guard.execute("select pg_try_advisory_lock(hashtextextended('mailmart.migrate', 0))").fetchone()
    if row == (True,):
        return
    sessions = [str(session) for session in sessions_with_advisory_locks(guard, target) if session.name == "mailmart.migrate"]
    LOG.warning("waiting for the lock of another migration: %s", "; ".join(sessions) or "it has just ended")
    guard.execute("select pg_advisory_lock(hashtextextended('mailmart.migrate', 0))")


def _apply(settings: Settings, applied: list[str], options: str) -> None:
    """Applies the missing migrations, and adds their names to `applied` one by one."""
    backend = get_backend(_yoyo_uri(conninfo(settings, None, options=options)))
    try:
        backend.break_lock()
        missing = backend.to_apply(read_migrations(str(MIGRATIONS)))
        with backend.lock():
            for migration in missing:
                backend.apply_one(migration)
                applied.append(str(migration.id))
    finally:
        backend.connection.close()


def _migrate_queue(guard: psycopg.Connection) -> list[str]:
    with guard.transaction():
        guard.execute("set local lock_timeout = '1s'")
        return migrate_queue(guard)


def _retry(guard: psycopg.Connection, work: Callable[[], None]) -> None:
    try:
        retry_while_locked(work, MAX_SECONDS_IN_USE)
    except LOCK_ERRORS as error:
        raise MailmartError(
            f"a table that a migration changes has been in use for {MAX_SECONDS_IN_USE} s"
            f" ({lock_problem(error)}). Open transactions: {_open_transactions(guard)}",
            hint="End them, with `select pg_terminate_backend(pid)` if need be, and run `mailmart migrate` again.",
        ) from error


def _open_transactions(guard: psycopg.Connection) -> str:
    """Sessions with a lock on a table of mailmart. Plain SQL: the function that names them may not exist yet."""
    rows = guard.execute(
        """
        select distinct locks.pid, activity.usename, activity.application_name
        from pg_locks as locks
        inner join pg_class on locks.relation = pg_class.oid
        inner join pg_stat_activity as activity on locks.pid = activity.pid
        where
            pg_class.relnamespace = any(
                array(select oid from pg_namespace where nspname in ('app', 'raw', 'staging', 'core', 'marts', 'procrastinate'))
            )
            and locks.granted
            and activity.datname = current_database()
            and locks.pid <> pg_backend_pid()
        order by locks.pid
        """
    ).fetchall()
    return "; ".join(f"pid {pid} (login {login}, application {application or 'unknown'})" for pid, login, application in rows)


def _check_collation(guard: psycopg.Connection) -> None:
    row = guard.execute(
        "select lower('I') = 'i' and upper('i') = 'I', datcollate from pg_database where datname = current_database()"
    ).fetchone()
    is_usual, collation = row or (False, "")
    if not is_usual:
        raise SessionError(
            f"the database's collation {collation} has a Turkish i: INFO@ and info@ would be two recipients",
            hint="Create the database anew: create database … lc_collate 'C' lc_ctype 'C.UTF-8' template template0.",
        )


def require_migrations(settings: Settings) -> None:
    """Checks that a build can be recorded, which dbt cannot do before it has created its schemas.

    Raises:
        MailmartError: the database is not migrated.
        SessionError: the login may not build.
    """
    # a login that inherits nothing sees the functions of schema app under the role only
    with connect(settings, "mailmart_owner") as connection:
        functions = ("app.record_raw_state", "app.lock_view", "app.hold_off_builds", "app.record_core_version")
        is_migrated = connection.execute(
            "select bool_and(to_regproc(name) is not null) from unnest(%s::text[]) as name", (list(functions),)
        ).fetchone() == (True,)
    if not is_migrated:
        raise MailmartError("the database is not migrated to this release", hint="Run `mailmart migrate`, then build again.")


def _yoyo_uri(connection_string: str) -> str:
    parts = {name: str(value) for name, value in conninfo_to_dict(connection_string).items() if value is not None}
    login = quote(parts.pop("user", ""), safe="")
    if "password" in parts:
        login += ":" + quote(parts.pop("password"), safe="")
    database = quote(parts.pop("dbname", ""), safe="")
    # everything else is passed as libpq's keywords; also the host, which can be a socket's folder
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parts.items())
    return f"postgresql+psycopg://{login}@/{database}?{query}"
