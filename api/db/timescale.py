"""TimescaleDB: makes the large raw logs hypertables (`mailmart migrate --timescale`). See migration 0071."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import psycopg

from api.db.connection import connect
from api.db.lock_retry import LOCK_ERRORS, lock_problem, retry_while_locked
from api.errors import MailmartError
from api.settings import Settings

LOG = logging.getLogger(__name__)

# Not rejected_payloads: its rows are unique by content, and a hypertable has unique indexes with its time only.
HYPERTABLES = ("email_events", "webhook_payloads")
OLDEST_VERSION = (2, 18)
LOCK_TIMEOUT = "-c lock_timeout=1s"
MAX_SECONDS_IN_USE = 300


def make_hypertables(settings: Settings, progress: Callable[[str], None]) -> None:
    """Creates the extension if it is missing, and makes the raw logs hypertables. Does nothing where that was done.

    Each table is locked until its rows are moved. A table that is in use is waited for, a second at a time.

    Raises:
        MailmartError: the server does not have the extension, or an old one; or a table has been in use for minutes.
    """
    _create_extension(settings)
    with connect(settings, "mailmart_owner", autocommit=True, options=LOCK_TIMEOUT) as connection:
        for name in HYPERTABLES:
            try:
                retry_while_locked(partial(_make_hypertable, connection, name, progress), MAX_SECONDS_IN_USE)
            except LOCK_ERRORS as error:
                raise MailmartError(
                    f"raw.{name} has been in use for {MAX_SECONDS_IN_USE} s ({lock_problem(error)})",
                    hint="Stop what loads events and builds, and run `mailmart migrate --timescale` again.",
                ) from error


def _make_hypertable(connection: psycopg.Connection, name: str, progress: Callable[[str], None]) -> None:
    row = connection.execute("select app.make_hypertable(%s)", (f"raw.{name}",)).fetchone()
    progress(f"raw.{name} {'is a hypertable now' if row == (True,) else 'was a hypertable already'}")


def _create_extension(settings: Settings) -> None:
    with connect(settings, None, autocommit=True) as connection:
        try:
            connection.execute("create extension if not exists timescaledb")
        except (psycopg.errors.UndefinedFile, psycopg.errors.FeatureNotSupported) as error:
            raise MailmartError(
                "the server does not have the extension timescaledb",
                hint="Install the package of TimescaleDB for this PostgreSQL on the server, or migrate without --timescale.",
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise MailmartError(
                f"this login may not create the extension timescaledb: {str(error).strip()}",
                hint="As a superuser, in this database: create extension timescaledb;",
            ) from error
        except psycopg.OperationalError as error:
            # a library that was not preloaded ends the session
            raise MailmartError(
                f"the extension timescaledb cannot be loaded: {str(error).strip().splitlines()[0]}",
                hint="Set shared_preload_libraries = 'timescaledb' in postgresql.conf, and restart PostgreSQL.",
            ) from error
        row = connection.execute("select extversion from pg_catalog.pg_extension where extname = 'timescaledb'").fetchone()
    version = str(row[0]) if row else "0"
    if tuple(int(part) for part in version.split("-")[0].split(".")[:2]) < OLDEST_VERSION:
        raise MailmartError(
            f"the extension timescaledb is {version}: mailmart needs {'.'.join(map(str, OLDEST_VERSION))} or later",
            hint="Install a newer package, then: alter extension timescaledb update;",
        )
