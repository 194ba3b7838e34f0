"""Compresses old rows of the largest tables into blocks, after each nightly run.

Only what a publication has counted is compressed, in transactions of bounded size that block neither readers nor loaders. While
a build runs, nothing is compressed. Each transaction is whole by itself: after a run that was stopped, the next does the rest.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import LiteralString

import psycopg
from psycopg import sql

from api.builds.bounded_transactions import LOCK_TIMEOUT, SECONDS_TO_WAIT, BoundedTransactions, StoppedError
from api.builds.retention_repository import RetentionRepository
from api.builds.run_repository import NightlyRunRepository
from api.builds.schedule import latest_due
from api.db.advisory_lock import AdvisoryLock
from api.db.citus_queries import is_distributed
from api.db.connection import connect
from api.settings import Settings

LOG = logging.getLogger(__name__)
# a transaction takes about a second, for which a build that begins waits
ROWS_PER_TRANSACTION = 10_000


@dataclass(frozen=True)
class Pace:
    """How much a transaction compresses, and how many seconds a run waits for a build or a lock before it leaves the rest."""

    rows: int = ROWS_PER_TRANSACTION
    seconds_to_wait: float = SECONDS_TO_WAIT


PACE = Pace()


@dataclass(frozen=True)
class CompressedTable:
    """A table whose old rows are compressed.

    Attributes:
        schema: of dbt: `raw`, which all warehouses of a database share and production compresses, or `core`.
        compress: calls its SQL function with `target`, `relation`, `until`, `rows` and `cursor`. It returns the number of rows
            that it has compressed, null while a build runs, and the cursor of the next call. No row and no cursor is the end.
    """

    schema: str
    name: str
    compress: LiteralString


TABLES: tuple[CompressedTable, ...] = (
    # a block is of one workspace: the more rows, the fuller are the blocks of many workspaces
    CompressedTable(
        "raw",
        "email_events",
        "select compressed, next_place from app.compress_raw_events(%(target)s, %(until)s, 5 * %(rows)s, %(cursor)s)",
    ),
    CompressedTable(
        "core", "fct_email_events", "select app.compress_events(%(target)s, %(relation)s, %(until)s, %(rows)s), null"
    ),
)


@dataclass(frozen=True)
class CompressedRows:
    """How many rows a transaction has compressed, and the cursor of the next one."""

    rows: int
    next_cursor: str | None


class DueCompression:
    """The scheduled job: once after each nightly run. What was done is kept in the process, so a new one looks once more."""

    def __init__(self, settings: Settings, stopping: threading.Event, pace: Pace = PACE) -> None:
        self._settings = settings
        self._stopping = stopping
        self._pace = pace
        self._done: datetime | None = None

    def run(self) -> None:
        """Compresses old rows. Returns at once if nothing is due."""
        if not self._settings.compress_after:
            return
        with connect(self._settings, "mailmart_owner") as connection:
            runs = NightlyRunRepository(connection, self._settings.target)
            due = latest_due(runs.now(), self._settings.nightly_at)
            if due == self._done or runs.is_open(due):
                return
        if compress_old_rows(self._settings, self._stopping, self._pace) is not None:
            self._done = due


def compress_old_rows(settings: Settings, stopping: threading.Event, pace: Pace = PACE) -> dict[str, int] | None:
    """Compresses rows that are older than MAILMART_COMPRESS_AFTER, and returns how many, by table. None: some are left.

    Another process that does the same, or removes old rows, makes this one return at once.
    """
    if not settings.compress_after:
        return {}
    # that of retention: each would take the lock that holds builds off from the other again and again
    with AdvisoryLock(settings, f"mailmart.retention.{settings.target}") as lock:
        if not lock.acquire():
            return None
        with connect(settings, "mailmart_owner", autocommit=True, options=LOCK_TIMEOUT) as connection:
            if is_distributed(connection):
                LOG.warning("MAILMART_COMPRESS_AFTER is set, and nothing is compressed: core is distributed over a Citus cluster")
                return {}
            transactions = BoundedTransactions(
                "compression", lambda: not stopping.is_set() and lock.wait_while_held(0), pace.seconds_to_wait
            )
            until = RetentionRepository(connection, settings.target).cutoff(settings.compress_after)
            try:
                return {
                    table.name: _compress(connection, settings, table, until, transactions, pace) for table in _tables(settings)
                }
            except StoppedError:
                return None


def _tables(settings: Settings) -> list[CompressedTable]:
    return [table for table in TABLES if table.schema != "raw" or settings.is_production]


def _compress(
    connection: psycopg.Connection,
    settings: Settings,
    table: CompressedTable,
    until: datetime,
    transactions: BoundedTransactions,
    pace: Pace,
) -> int:
    schema = table.schema if table.schema == "raw" else settings.schema(table.schema)
    relation = sql.Identifier(schema, table.name).as_string(connection)
    if connection.execute("select to_regclass(%s) is null", (relation,)).fetchone() == (True,):
        return 0
    total = 0
    cursor: str | None = None
    has_more = True
    while has_more:
        values = {"target": settings.target, "relation": relation, "until": until, "rows": pace.rows, "cursor": cursor}
        compressed = transactions.attempt(partial(_compress_rows, connection, table.compress, values))
        total += compressed.rows
        cursor = compressed.next_cursor
        has_more = bool(compressed.rows or cursor)
    LOG.info("compression: %s", table.name, extra={"fields": {"table": table.name, "rows_compressed": total, "until": until}})
    return total


def _compress_rows(connection: psycopg.Connection, query: LiteralString, values: dict[str, object]) -> CompressedRows | None:
    ((rows, next_cursor),) = connection.execute(query, values).fetchall()
    is_building = rows is None
    return None if is_building else CompressedRows(rows, next_cursor)
