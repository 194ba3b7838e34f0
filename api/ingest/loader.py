"""Lands documents by COPY, a batch a transaction; what PostgreSQL does not take comes back with its reason."""

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
    """How a file was landed: rows of raw.webhook_payloads (bodies) or raw.email_events (events), and lines rejected."""

    landed: int
    rejected: int


def land(
    settings: Settings,
    provider: str,
    workspace_id: str,
    documents: Iterable[Document | RejectedLine],
    reject: Callable[[RejectedLine], None],
    progress: Callable[[int], None] = lambda landed: None,
) -> LoadResult:
    """Lands the documents of one file.

    A batch is committed before the next is read, so that memory is bounded, and a run that is ended half way has lost nothing:
    loading the file again changes no number. `reject` is called with each line that cannot be landed, `progress` after each
    batch with the rows landed so far.

    Raises:
        psycopg.Error: the database went away.
    """
    landed = rejected = 0
    statement = _statement("insert_events.sql" if provider == "native" else "insert_payloads.sql")
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("create temporary table arriving (line bigint, body text) on commit delete rows")
        connection.commit()
        for batch in _batches(documents):
            refused = [document for document in batch if isinstance(document, RejectedLine)]
            arriving = [document for document in batch if isinstance(document, Document)]
            if arriving:
                count, refused_by_database = _land_batch(connection, statement, provider, workspace_id, arriving)
                landed += count
                refused += refused_by_database
            for line in sorted(refused, key=lambda refused_line: refused_line.line):
                reject(line)
            rejected += len(refused)
            progress(landed)
    return LoadResult(landed, rejected)


def workspace_is_known(settings: Settings, workspace_id: str) -> bool:
    """Whether the app's tables have the workspace."""
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute("select 1 from raw.workspaces where workspace_id = %s", (workspace_id,)).fetchone()
    return row is not None


def _land_batch(
    connection: psycopg.Connection, statement: bytes, provider: str, workspace_id: str, batch: list[Document]
) -> tuple[int, list[RejectedLine]]:
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy("copy arriving (line, body) from stdin") as copy:
            for document in batch:
                copy.write_row((document.line, document.text))
        rows = cursor.execute(statement, {"provider": provider, "workspace_id": workspace_id}).fetchall()
    texts = {document.line: document.text for document in batch}
    refused = [RejectedLine(line, reason, text or texts[line]) for line, _, reason, text in rows if line is not None]
    return sum(count for line, count, _, _ in rows if line is None), refused


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
