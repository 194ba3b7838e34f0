"""Loads documents with COPY, one transaction a batch. PostgreSQL checks them and returns the rejected ones with a reason."""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import psycopg

from api.db.connection import connect
from api.ingest.reader import Document, RejectedLine
from api.settings import Settings

PROVIDERS = ("sendgrid", "ses", "postmark", "mailgun", "native")
BATCH_DOCUMENTS = 20_000
BATCH_CHARACTERS = 32 * 1024 * 1024


@dataclass(frozen=True)
class LoadResult:
    """Number of rows inserted into raw.webhook_payloads or raw.email_events, and number of rejected lines or events."""

    loaded: int
    rejected: int


def load(
    settings: Settings,
    provider: str,
    workspace_id: str,
    documents: Iterable[Document | RejectedLine],
    reject: Callable[[RejectedLine], None],
    progress: Callable[[int], None] = lambda loaded: None,
) -> LoadResult:
    """Loads the documents of one file; provider `native` means events in mailmart's own format.

    Each batch is committed before the next one is read. So memory is bounded, and an interrupted run keeps its batches: loading
    the file again is idempotent. `reject` gets each line that cannot be loaded, `progress` the rows so far after each batch.

    Raises:
        psycopg.Error: the database is unavailable.
    """
    loaded = rejected = 0
    statement = _statement("insert_events.sql" if provider == "native" else "insert_payloads.sql")
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("create temporary table incoming (line bigint, body text) on commit delete rows")
        connection.commit()
        for batch in _batches(documents):
            rejects = [document for document in batch if isinstance(document, RejectedLine)]
            accepted = [document for document in batch if isinstance(document, Document)]
            if accepted:
                count, rejected_by_database = _load_batch(connection, statement, provider, workspace_id, accepted)
                loaded += count
                rejects += rejected_by_database
            for line in sorted(rejects, key=lambda rejected_line: rejected_line.line):
                reject(line)
            rejected += len(rejects)
            progress(loaded)
    return LoadResult(loaded, rejected)


def workspace_exists(settings: Settings, workspace_id: str) -> bool:
    """Whether raw.workspaces has the workspace."""
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute("select 1 from raw.workspaces where workspace_id = %s", (workspace_id,)).fetchone()
    return row is not None


def _load_batch(
    connection: psycopg.Connection, statement: bytes, provider: str, workspace_id: str, batch: list[Document]
) -> tuple[int, list[RejectedLine]]:
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy("copy incoming (line, body) from stdin") as copy:
            for document in batch:
                copy.write_row((document.line, document.text))
        rows = cursor.execute(statement, {"provider": provider, "workspace_id": workspace_id}).fetchall()
    texts = {document.line: document.text for document in batch}
    rejects = [RejectedLine(line, reason, text or texts[line]) for line, _, reason, text in rows if line is not None]
    return sum(count for line, count, _, _ in rows if line is None), rejects


def _batches(documents: Iterable[Document | RejectedLine]) -> Iterator[list[Document | RejectedLine]]:
    batch: list[Document | RejectedLine] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) >= BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _statement(name: str) -> bytes:
    return importlib.resources.files("api.ingest").joinpath(name).read_bytes()
