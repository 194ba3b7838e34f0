"""The publication: the batch that the API reads, and the contract that it was built with.

This module reads it. A build writes it: macros/versioning/begin_and_publish.sql, app.publish_batch().
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import orjson
import psycopg

from api.contract.contract import Contract, read_contract
from api.db.pool import DATABASE_UNAVAILABLE, ConnectionPool
from api.db.replica import RoutedPool
from api.errors import NothingPublished, WarehouseUnavailable
from api.observability.metrics import DATA_AS_OF, PUBLISHED_BATCH

CACHE_TTL_SECONDS = 1.0


@dataclass(frozen=True)
class PublishedState:
    """A batch that was published, and the time up to which it includes all events."""

    batch_id: int
    data_as_of: datetime


@dataclass(frozen=True)
class Publication:
    """A published batch.

    Attributes:
        batch_id: the batch that reads are as of.
        data_as_of: the batch includes all events loaded up to this time.
        manifest: the part of dbt's manifest that the batch was built with.
        contract_id: a hash of that part.
        revision: counts the erasures, which change a batch that is published already.
        previous: the publication before this one, whose rows are still there; None for the first, and if all before it were
            withdrawn.
    """

    batch_id: int
    data_as_of: datetime
    manifest: dict[str, Any]
    contract_id: str
    revision: int = 0
    previous: PublishedState | None = None

    @property
    def readable(self) -> tuple[PublishedState, ...]:
        """The batches that can be read, this one first."""
        current = PublishedState(self.batch_id, self.data_as_of)
        return (current,) if self.previous is None else (current, self.previous)

    @cached_property
    def contract(self) -> Contract:
        """What the manifest offers, read on first use.

        Raises:
            ContractError: this release cannot read it.
        """
        return read_contract(self.manifest)

    def is_same(self, other: Publication) -> bool:
        """Whether two reads found the same publication."""
        # a restored database reuses batch ids: the time distinguishes them
        return (self.batch_id, self.data_as_of, self.revision) == (other.batch_id, other.data_as_of, other.revision)


def read_publication(connection: psycopg.Connection, target: str) -> Publication | None:
    """The current publication of a target; None if nothing is published."""
    row = connection.execute(
        """
        select
            publications.batch_id, publications.data_as_of, publications.contract::text, publication.revision,
            previous.batch_id, previous.data_as_of
        from app.current_publication as publication
        inner join app.publications as publications
            on publication.target = publications.target and publication.batch_id = publications.batch_id
        left join lateral (
            select older.batch_id, older.data_as_of
            from app.publications as older
            where
                older.target = publication.target
                and older.batch_id < publication.batch_id
                and older.withdrawn_at is null
            order by older.batch_id desc
            limit 1
        ) as previous on true
        where publication.target = %s
        """,
        (target,),
    ).fetchone()
    if row is None:
        return None
    batch_id, data_as_of, manifest, revision, previous_batch_id, previous_data_as_of = row
    return Publication(
        batch_id,
        data_as_of,
        orjson.loads(manifest),
        hashlib.sha256(manifest.encode()).hexdigest(),
        revision,
        None if previous_batch_id is None else PublishedState(previous_batch_id, previous_data_as_of),
    )


class PublicationCache:
    """The current publication, at most a second old. One thread refreshes it; the others wait for it.

    If the pool has a replica, a new publication is current once the replica has it, or after MAILMART_READ_MAX_LAG_SECONDS:
    otherwise the primary would compute every answer anew, after each publication. What takes something back, an erasure or a
    rollback, is current at once.
    """

    def __init__(self, pool: ConnectionPool, target: str) -> None:
        self._pool = pool
        self._replica = pool.replica if isinstance(pool, RoutedPool) else None
        self._target = target
        self._lock = threading.Lock()
        self._publication: Publication | None = None
        self._expires_at = 0.0

    def current(self) -> Publication | None:
        """The publication; None if nothing is published yet.

        Raises:
            WarehouseUnavailable: the database is unavailable.
        """
        if time.monotonic() >= self._expires_at:
            # during an outage, nobody waits for the thread that tries the database
            if not self._lock.acquire(blocking=not self._pool.is_unavailable):
                raise WarehouseUnavailable(DATABASE_UNAVAILABLE)
            try:
                if time.monotonic() >= self._expires_at:
                    self._publication = self._read()
                    self._expires_at = time.monotonic() + CACHE_TTL_SECONDS
            finally:
                self._lock.release()
        return self._publication

    def unless_expired(self) -> Publication | None:
        """The publication if it was read within the last second; else None, and `current` has to read it. Never waits."""
        return self._publication if time.monotonic() < self._expires_at else None

    def require(self) -> Publication:
        """The publication.

        Raises:
            NothingPublished: nothing is published yet.
            WarehouseUnavailable: the database is unavailable.
        """
        publication = self.current()
        if publication is None:
            raise NothingPublished
        return publication

    def _read(self) -> Publication | None:
        publication = self._pool.execute(lambda connection: read_publication(connection, self._target))
        if publication is None:
            return None
        if self._replica is not None:
            self._replica.expect(publication.batch_id, publication.data_as_of, publication.revision)
        if self._publication is not None and publication.is_same(self._publication):
            # the same object: callers compare by identity
            return self._publication
        if self._publication is not None and self._awaits_replica(self._publication, publication):
            return self._publication
        PUBLISHED_BATCH.set(publication.batch_id)
        DATA_AS_OF.set(publication.data_as_of.timestamp())
        return publication

    def _awaits_replica(self, current: Publication, published: Publication) -> bool:
        is_newer = published.batch_id > current.batch_id and published.revision == current.revision
        return self._replica is not None and is_newer and self._replica.awaits(published.batch_id)
