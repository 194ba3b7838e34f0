"""Removes raw rows, events and messages that are older than the settings allow, after each nightly run.

Only what a publication has counted is removed, in transactions of bounded size that block neither readers nor loaders. While a
build runs, nothing is removed. A run that was stopped is resumed.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from psycopg import sql

from api.builds.bounded_transactions import LOCK_TIMEOUT, SECONDS_TO_WAIT, BoundedTransactions, StoppedError
from api.builds.retention_policy import RAW_EVENTS, RetentionPolicy
from api.builds.retention_repository import RetentionRepository
from api.builds.run_repository import NightlyRunRepository
from api.builds.schedule import latest_due
from api.db.advisory_lock import AdvisoryLock
from api.db.connection import connect
from api.settings import Settings

LOG = logging.getLogger(__name__)
# a transaction takes about a second, for which a build that begins waits
ROWS_PER_TRANSACTION = 10_000
PAGES_PER_TRANSACTION = 1_000
# of about a thousand events
BLOCKS_PER_TRANSACTION = 10


@dataclass(frozen=True)
class Pace:
    """How much a transaction removes, and how many seconds a run waits for a build or a lock before it leaves the rest."""

    rows: int = ROWS_PER_TRANSACTION
    pages: int = PAGES_PER_TRANSACTION
    blocks: int = BLOCKS_PER_TRANSACTION
    seconds_to_wait: float = SECONDS_TO_WAIT


PACE = Pace()


def run_due_retention(settings: Settings, stopping: threading.Event, pace: Pace = PACE) -> None:
    """Removes old rows once after each nightly run, and resumes a run that was stopped. Returns at once if nothing is due."""
    tables = _tables(settings)
    if not tables:
        return
    with connect(settings, "mailmart_owner") as connection:
        runs = NightlyRunRepository(connection, settings.target)
        due = latest_due(runs.now(), settings.nightly_at)
        done = RetentionRepository(connection, settings.target).ended_since(due)
        if runs.is_open(due) or done >= tables.keys():
            return
    remove_old_rows(settings, stopping, since=due, pace=pace)


def remove_old_rows(
    settings: Settings, stopping: threading.Event, *, since: datetime | None = None, pace: Pace = PACE
) -> dict[str, int]:
    """Removes old rows now, and returns how many, by table. Leaves out tables that a run has done since `since`.

    Another process that does the same makes this one return at once.
    """
    if not _tables(settings):
        return {}
    with AdvisoryLock(settings, f"mailmart.retention.{settings.target}") as lock:
        if not lock.acquire():
            return {}
        with connect(settings, "mailmart_owner", autocommit=True, options=LOCK_TIMEOUT) as connection:
            repository = RetentionRepository(connection, settings.target)
            transactions = BoundedTransactions(
                "retention", lambda: not stopping.is_set() and lock.wait_while_held(0), pace.seconds_to_wait
            )
            run = _Run(settings, repository, pace, transactions)
            with suppress(StoppedError):
                run.remove(done=repository.ended_since(since) if since is not None else set())
            return repository.removed_rows()


def _tables(settings: Settings) -> dict[str, sql.Identifier]:
    """The tables from which rows are removed, by name, in order. Only production removes raw logs."""
    policy = RetentionPolicy.of(settings)
    raw_logs = policy.raw_logs() if settings.is_production else {}
    return {
        **{name: sql.Identifier("raw", name) for name in raw_logs},
        **{name: sql.Identifier(settings.schema("core"), name) for name in policy.core_tables()},
    }


class _Run:
    def __init__(
        self, settings: Settings, repository: RetentionRepository, pace: Pace, transactions: BoundedTransactions
    ) -> None:
        policy = RetentionPolicy.of(settings)
        self._raw_logs = policy.raw_logs()
        self._days = {**policy.raw_logs(), **policy.core_tables()}
        self._tables = _tables(settings)
        self._repository = repository
        self._pace = pace
        self._attempt = transactions.attempt

    def remove(self, done: set[str]) -> None:
        """Removes the old rows of all tables but those in `done`.

        Raises:
            StoppedError: before it was done.
        """
        for name, table in self._tables.items():
            if name in done or not self._repository.exists(table):
                continue
            until = self._repository.cutoff(self._days[name])
            self._repository.begin(name, until)
            if name in self._raw_logs:
                self._remove_raw(name, until)
                self._repository.end(name, self._repository.oldest_raw(name, until))
            else:
                self._remove_core(table, name, until)
                self._repository.end(name, None)
            rows = self._repository.removed_rows()[name]
            LOG.info("retention: %s", name, extra={"fields": {"table": name, "rows_removed": rows, "until": until}})

    def _remove_raw(self, log: str, until: datetime) -> None:
        remove = partial(self._repository.remove_raw, log, until=until, rows=self._pace.rows)
        while self._attempt(partial(self._repository.drop_partition, log, until)):
            pass
        for leaf in self._repository.leaf_tables(log):
            since: datetime | str | None = "-infinity"
            while since is not None:
                found = self._attempt(partial(remove, leaf, since))
                since = found.next_since if found.removed else None
            while self._attempt(partial(remove, leaf, None)).removed:
                pass
        if log in RAW_EVENTS:
            while self._attempt(partial(self._repository.remove_compressed, until, self._pace.blocks)):
                pass

    def _remove_core(self, table: sql.Identifier, name: str, until: datetime) -> None:
        if self._repository.is_distributed():
            for workspace_id in self._repository.workspaces(table):
                self._remove_of_workspace(table, name, until, workspace_id)
            return
        if name == "fct_email_events":
            take_out = partial(self._repository.take_out_compressed, table, until, self._pace.blocks)
            while self._attempt(take_out):
                pass
        for first in range(0, self._repository.pages(table), self._pace.pages):
            self._attempt(partial(self._repository.remove_core, table, name, until, first, self._pace.pages))

    def _remove_of_workspace(self, table: sql.Identifier, name: str, until: datetime, workspace_id: str) -> None:
        last_id: str | None = ""
        while last_id is not None:
            remove = partial(
                self._repository.remove_core_of_workspace, table, name, until, workspace_id, last_id, self._pace.rows
            )
            last_id = self._attempt(remove).last_id
