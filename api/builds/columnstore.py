"""Converts old chunks of the raw logs to TimescaleDB's columnstore, if they are hypertables and the licence allows it."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

import psycopg

from api.db.advisory_lock import AdvisoryLock
from api.db.connection import connect
from api.db.lock_retry import LOCK_ERRORS
from api.db.timescale import HYPERTABLES
from api.settings import Settings

LOG = logging.getLogger(__name__)
DEFAULT_DAYS = 7


def convert_old_chunks(settings: Settings, stopping: threading.Event) -> list[str]:
    """Converts the chunks whose rows are all older than MAILMART_COLUMNSTORE_AFTER, and returns them.

    Each chunk is a transaction. A chunk that a build or a loader has locked is left to the next time. Another process that does
    the same makes this one return at once.
    """
    days = DEFAULT_DAYS if settings.columnstore_after is None else settings.columnstore_after
    if not days or not settings.is_production:
        return []
    converted: list[str] = []
    with AdvisoryLock(settings, "mailmart.columnstore") as lock:
        if not lock.acquire():
            return []
        with connect(settings, "mailmart_owner", autocommit=True) as connection:
            for name in HYPERTABLES:
                try:
                    _convert(connection, name, days, stopping, converted)
                except psycopg.errors.FeatureNotSupported as error:
                    # an operator who did not ask for it need not hear that there is none
                    if settings.columnstore_after is not None:
                        LOG.warning("MAILMART_COLUMNSTORE_AFTER is set, and %s", str(error).splitlines()[0])
                    break
    return converted


def _convert(connection: psycopg.Connection, name: str, days: int, stopping: threading.Event, converted: list[str]) -> None:
    while not stopping.is_set():
        with suppress(*LOCK_ERRORS):
            row = connection.execute(
                "select app.convert_raw_chunk(%s, clock_timestamp() - %s * interval '24 hours')::text", (f"raw.{name}", days)
            ).fetchone()
            if row is not None and row[0] is not None:
                converted.append(row[0])
                LOG.info("columnstore: %s of raw.%s", row[0], name)
                continue
        return
