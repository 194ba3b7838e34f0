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

from api.errors import WarehouseUnavailable
from api.metrics import DATA_AS_OF, PUBLISHED_BATCH
from api.warehouse import AWAY, Warehouse

SECONDS_KEPT = 1.0

STATEMENT = """
    select publications.batch_id, publications.data_as_of, publications.contract::text
    from app.publication as publication
    inner join app.publications as publications
        on publication.target = publications.target and publication.batch_id = publications.batch_id
    where publication.target = {target}
"""


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


class Publications:
    """Asks for the publication, and keeps the answer for a second; one thread asks, the others take what there is."""

    def __init__(self, warehouse: Warehouse, target: str) -> None:
        self._warehouse = warehouse
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
            if not self._lock.acquire(blocking=not self._warehouse.is_away):
                raise WarehouseUnavailable(AWAY)
            try:
                if time.monotonic() >= self._until:
                    self._known = self._ask()
                    self._until = time.monotonic() + SECONDS_KEPT
            finally:
                self._lock.release()
        return self._known

    def _ask(self) -> Publication | None:
        def read(connection: psycopg.Connection) -> tuple[Any, ...] | None:
            statement = STATEMENT.format(target=self._warehouse.literal(connection, self._target))
            row: tuple[Any, ...] | None = connection.execute(statement.encode()).fetchone()
            return row

        row = self._warehouse.run(read)
        if row is None:
            return None
        batch_id, data_as_of, text = row
        # a restored database counts its batches again
        if self._known is not None and (self._known.batch_id, self._known.data_as_of) == (batch_id, data_as_of):
            return self._known
        PUBLISHED_BATCH.set(batch_id)
        DATA_AS_OF.set(data_as_of.timestamp())
        contract_id = hashlib.sha256(text.encode()).hexdigest()
        return Publication(batch_id, data_as_of, orjson.loads(text), contract_id)
