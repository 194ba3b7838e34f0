"""What is published, at most a second old."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import psycopg

from api.db.pool import AWAY, ConnectionPool
from api.errors import WarehouseUnavailable
from api.observability.metrics import DATA_AS_OF, PUBLISHED_BATCH

CACHE_TTL_SECONDS = 1.0


@dataclass(frozen=True)
class Publication:
    """The batch that is served.

    Attributes:
        batch_id: read as of this batch.
        data_as_of: what had landed by then is in.
        contract: the part of the manifest that it was built with.
        contract_id: a hash of the contract.
    """

    batch_id: int
    data_as_of: datetime
    contract: dict[str, Any]
    contract_id: str


def read_publication(connection: psycopg.Connection, target: str) -> Publication | None:
    """What is published; None where nothing is."""
    row = connection.execute(
        """
        select publications.batch_id, publications.data_as_of, publications.contract::text
        from app.current_publication as publication
        inner join app.publications as publications
            on publication.target = publications.target and publication.batch_id = publications.batch_id
        where publication.target = %s
        """,
        (target,),
    ).fetchone()
    if row is None:
        return None
    batch_id, data_as_of, text = row
    return Publication(batch_id, data_as_of, orjson.loads(text), hashlib.sha256(text.encode()).hexdigest())


class Publications:
    """Asks for the publication, and keeps the answer for a second; one thread asks, the others take what there is."""

    def __init__(self, pool: ConnectionPool, target: str) -> None:
        self._pool = pool
        self._target = target
        self._lock = threading.Lock()
        self._known: Publication | None = None
        self._until = 0.0

    def current(self) -> Publication | None:
        """The publication; None where nothing was published yet.

        Raises:
            WarehouseUnavailable: the database is away.
        """
        if time.monotonic() >= self._until:
            # nobody waits for the one who finds out whether the database is back
            if not self._lock.acquire(blocking=not self._pool.is_unavailable):
                raise WarehouseUnavailable(AWAY)
            try:
                if time.monotonic() >= self._until:
                    self._known = self._ask()
                    self._until = time.monotonic() + CACHE_TTL_SECONDS
            finally:
                self._lock.release()
        return self._known

    def _ask(self) -> Publication | None:
        found = self._pool.execute(lambda connection: read_publication(connection, self._target))
        # a restored database counts its batches again
        if found is not None and self._known is not None and _is_same(found, self._known):
            # the same object: who compares it need not look inside
            return self._known
        if found is not None:
            PUBLISHED_BATCH.set(found.batch_id)
            DATA_AS_OF.set(found.data_as_of.timestamp())
        return found


def _is_same(one: Publication, other: Publication) -> bool:
    return (one.batch_id, one.data_as_of) == (other.batch_id, other.data_as_of)
