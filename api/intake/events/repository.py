"""Stores native events of one workspace, and the rejected ones with their reasons, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from api.db.pool import ConnectionPool
from api.db.request_context import WORKSPACE_ID, apply_settings
from api.errors import Forbidden, QueryTimeout, WarehouseUnavailable
from api.ingest.batches import Row, load_batch
from api.ingest.reader import Document, RejectedLine

# of app.request_workspace_id()
WORKSPACE_ERASED = "MM006"


@dataclass(frozen=True)
class Received:
    """How many events were stored, and those that were not: `line` is the place in the request, from 0."""

    accepted: int
    rejected: list[RejectedLine]


class EventRepository:
    """Uses the functions that the API's role may call: they take the workspace from the request's context."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def add(self, workspace_id: str, documents: Sequence[Document], rejected: Sequence[RejectedLine]) -> Received:
        """Stores events, one a document, and keeps the rejected ones with those that were rejected before.

        The same events may be stored again: a build takes up each event_id once.

        Raises:
            Forbidden: the workspace was erased.
            WarehouseUnavailable, QueryTimeout: nothing was stored.
        """

        def add(connection: psycopg.Connection) -> Received:
            apply_settings(connection, {WORKSPACE_ID: workspace_id})
            accepted, found = load_batch(lambda batch: _insert(connection, batch), documents) if documents else (0, [])
            all_rejected = sorted([*rejected, *found], key=lambda line: line.line)
            _keep(connection, all_rejected)
            return Received(accepted, all_rejected)

        try:
            return self._pool.execute(add)
        except psycopg.Error as error:
            if error.sqlstate == WORKSPACE_ERASED:
                raise Forbidden("The workspace was erased") from error
            raise


def _insert(connection: psycopg.Connection, batch: Sequence[Document]) -> list[Row]:
    try:
        # a savepoint: an event that PostgreSQL cannot read must not undo the others
        with connection.transaction():
            texts = [document.text for document in batch]
            return connection.execute("select * from app.receive_events(%s)", (texts,)).fetchall()
    except psycopg.errors.LockNotAvailable as error:
        raise WarehouseUnavailable("The events' table is locked; try again later.") from error
    except (psycopg.errors.QueryCanceled, psycopg.errors.OutOfMemory) as error:
        # of the whole request: halves of it would take longer still
        raise QueryTimeout from error


def _keep(connection: psycopg.Connection, rejected: Sequence[RejectedLine]) -> None:
    if not rejected:
        return
    columns = zip(*((line.problem, line.reason, line.line, line.text) for line in rejected), strict=True)
    try:
        connection.execute("select app.keep_rejected_events(%s, %s, %s, %s)", [list(column) for column in columns])
    except psycopg.errors.LockNotAvailable as error:
        raise WarehouseUnavailable("The events' table is locked; try again later.") from error
