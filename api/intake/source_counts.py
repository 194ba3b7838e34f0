"""Counts of sources: collected in memory by any thread, and added to their rows every few seconds. They delay no body."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

import psycopg

from api.db.pool import ConnectionPool
from api.errors import ApiError, MailmartError, WarehouseUnavailable

LOG = logging.getLogger(__name__)
# an erasure, or a change of a source, has its row for longer: then the next attempt counts
LOCK_TIMEOUT = "500ms"
COUNT = "select app.count_webhook_bodies(%s, %s, %s, %s, %s, %s)"


@dataclass
class _Counts:
    """What a source's row is to be raised by."""

    bodies: int = 0
    rejected: int = 0
    failures: int = 0
    failure: str | None = None
    rejection: str | None = None


class SourceCounts:
    """For use by several threads."""

    def __init__(self) -> None:
        self._counts: dict[str, _Counts] = {}
        self._lock = Lock()
        self._is_delayed = False

    def add_failure(self, source_id: str, reason: str) -> None:
        """Counts a request that was not signed by the provider."""
        with self._lock:
            counts = self._counts.setdefault(source_id, _Counts())
            counts.failures += 1
            counts.failure = reason

    def add_bodies(self, source_id: str, stored: int, rejections: Sequence[str]) -> None:
        """Counts bodies of a request that were stored, and the reasons of those that were not."""
        with self._lock:
            counts = self._counts.setdefault(source_id, _Counts())
            counts.bodies += stored
            counts.rejected += len(rejections)
            counts.rejection = rejections[-1] if rejections else counts.rejection

    def write(self, pool: ConnectionPool) -> None:
        """Adds them to the rows. An outage or a lock only delays them."""
        with self._lock:
            counts, self._counts = self._counts, {}
        if not counts:
            return
        ids = sorted(counts)
        columns = [
            ids,
            [counts[source_id].bodies for source_id in ids],
            [counts[source_id].rejected for source_id in ids],
            [counts[source_id].failures for source_id in ids],
            [counts[source_id].failure for source_id in ids],
            [counts[source_id].rejection for source_id in ids],
        ]

        def count(connection: psycopg.Connection) -> None:
            try:
                connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'".encode())
                connection.execute(COUNT, columns)
            except psycopg.errors.LockNotAvailable as error:
                # to the pool, psycopg's error would be an outage
                raise WarehouseUnavailable("the rows of sources are locked") from error

        try:
            pool.execute(count)
        except (psycopg.Error, MailmartError, ApiError) as error:
            self._put_back(counts)
            if not self._is_delayed:
                LOG.warning("counts of sources are written later: %s", str(error).strip())
            self._is_delayed = True
        else:
            self._is_delayed = False

    def _put_back(self, counts: Mapping[str, _Counts]) -> None:
        with self._lock:
            for source_id, lost in counts.items():
                current = self._counts.setdefault(source_id, _Counts())
                current.bodies += lost.bodies
                current.rejected += lost.rejected
                current.failures += lost.failures
                current.failure = current.failure or lost.failure
                current.rejection = current.rejection or lost.rejection
