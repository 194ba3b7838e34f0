"""Applies the numbered migrations to a database."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict
from yoyo import get_backend, read_migrations

from api.db.connection import connect, conninfo
from api.db.privileges import restrict_database
from api.db.queue_schema import migrate_queue
from api.errors import MailmartError
from api.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"
LOG = logging.getLogger(__name__)
LARGE_OBJECTS_WARNING = (
    "every role of this database may create large objects, and one of another owner makes pg_dump fail."
    " A superuser has to run in this database, once: %s"
)


def migrate(settings: Settings) -> list[str]:
    """Applies the missing migrations in order, and returns their names. Safe to run twice, and from several processes.

    An advisory lock, which ends with its connection, keeps two processes apart. So a lock row of yoyo's that is found under it
    was left by a process that was killed, and is removed.

    Also revokes what PostgreSQL lets everybody do in a database, and logs a warning about what only a superuser can revoke.
    """
    with connect(settings, None) as guard:
        guard.execute("select pg_advisory_lock(hashtextextended('mailmart.migrate', 0))")
        backend = get_backend(_yoyo_uri(conninfo(settings, None)))
        try:
            backend.break_lock()
            missing = backend.to_apply(read_migrations(str(MIGRATIONS)))
            with backend.lock():
                backend.apply_migrations(missing)
            applied = [*(migration.id for migration in missing), *migrate_queue(guard)]
        finally:
            backend.connection.close()
        statement = restrict_database(guard)
        if statement is not None:
            LOG.warning(LARGE_OBJECTS_WARNING, statement)
        return applied


def require_migrations(settings: Settings) -> None:
    """Checks that a build can be recorded, which dbt cannot do before it has created its schemas.

    Raises:
        MailmartError: the database is not migrated.
        SessionError: the login may not build.
    """
    # a login that inherits nothing sees the functions of schema app under the role only
    with connect(settings, "mailmart_owner") as connection:
        is_migrated = connection.execute("select to_regproc('app.record_raw_state') is not null").fetchone() == (True,)
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
