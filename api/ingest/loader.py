"""Loads documents with COPY, one transaction a batch. PostgreSQL checks them and returns the rejected ones with a reason."""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import psycopg

from api.db.connection import connect
from api.errors import MailmartError
from api.ingest.batches import Row, load_batch
from api.ingest.reader import Document, RejectedLine
from api.settings import Settings

PROVIDERS = (
    "sendgrid",
    "ses",
    "postmark",
    "mailgun",
    "resend",
    "sparkpost",
    "mailjet",
    "brevo",
    "mailersend",
    "mailtrap",
    "mandrill",
    "postal",
    "native",
)
BATCH_DOCUMENTS = 20_000
BATCH_CHARACTERS = 8 * 1024 * 1024
# a batch takes one or two seconds; one that takes much longer has a document that is rejected
STATEMENT_TIMEOUT_SECONDS = 120
LOCK_TIMEOUT_SECONDS = 30
# the documents of a batch are numbered: several can be on one line
INSERT_EVENTS = b"""
    select * from app.insert_native_events(%(workspace_id)s, (select array_agg(body order by document) from incoming))
"""


@dataclass
class LoadResult:
    """Number of rows inserted into raw.webhook_payloads or raw.email_events, of rejected lines or events, and these by reason."""

    loaded: int = 0
    rejected: int = 0
    problems: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Target:
    connection: psycopg.Connection
    provider: str
    workspace_id: str
    source: str


def load(
    settings: Settings,
    provider: str,
    workspace_id: str,
    documents: Iterable[Document | RejectedLine],
    reject: Callable[[RejectedLine], None],
    progress: Callable[[int], None] = lambda loaded: None,
    source: str = "",
) -> LoadResult:
    """Loads the documents of one file, `source`; provider `native` means events in mailmart's own format.

    Each batch is committed before the next one is read. So memory is bounded, and an interrupted run keeps its batches: loading
    the file again is idempotent. `reject` gets each line that cannot be loaded, which raw.rejected_payloads keeps, too;
    `progress` gets the rows so far after each batch.

    Raises:
        psycopg.Error: the database is unavailable.
        MailmartError: another session locks the table.
    """
    result = LoadResult()
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("create temporary table incoming (document bigint, body text) on commit delete rows")
        connection.commit()
        target = _Target(connection, provider, workspace_id, source)
        for batch in _batches(documents):
            rejects = [document for document in batch if isinstance(document, RejectedLine)]
            accepted = [document for document in batch if isinstance(document, Document)]
            if accepted:
                count, rejected_by_database = _load_batch(target, accepted)
                result.loaded += count
                rejects += rejected_by_database
            rejects.sort(key=lambda rejected_line: rejected_line.line)
            _keep(target, rejects)
            for line in rejects:
                reject(line)
                result.problems[line.problem] = result.problems.get(line.problem, 0) + 1
            result.rejected += len(rejects)
            progress(result.loaded)
    return result


def workspace_exists(settings: Settings, workspace_id: str) -> bool:
    """Whether raw.workspaces has the workspace."""
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute("select 1 from raw.workspaces where workspace_id = %s", (workspace_id,)).fetchone()
    return row is not None


def _load_batch(target: _Target, batch: Sequence[Document]) -> tuple[int, list[RejectedLine]]:
    try:
        return load_batch(lambda documents: _insert(target, documents), batch)
    except psycopg.errors.LockNotAvailable as error:
        raise MailmartError(
            f"another session has locked the table for {LOCK_TIMEOUT_SECONDS} s: {str(error).strip()}",
            hint="Find it in pg_stat_activity, and load the file again when it has ended.",
        ) from error


def _insert(target: _Target, batch: Sequence[Document]) -> list[Row]:
    statement = INSERT_EVENTS if target.provider == "native" else _statement("insert_payloads.sql")
    with target.connection.transaction(), target.connection.cursor() as cursor:
        cursor.execute(
            f"set local statement_timeout = '{STATEMENT_TIMEOUT_SECONDS}s'; set local lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"
        )
        with cursor.copy("copy incoming (document, body) from stdin") as copy:
            for number, document in enumerate(batch, 1):
                copy.write_row((number, document.text))
        return cursor.execute(statement, {"provider": target.provider, "workspace_id": target.workspace_id}).fetchall()


def _keep(target: _Target, rejects: list[RejectedLine]) -> None:
    statement = _statement("insert_rejected.sql")
    with target.connection.transaction(), target.connection.cursor() as cursor:
        cursor.executemany(
            statement,
            [
                {
                    "provider": target.provider,
                    "workspace_id": target.workspace_id,
                    "problem": line.problem,
                    "reason": line.reason,
                    "source": target.source,
                    "line": line.line,
                    "body": line.text,
                }
                for line in rejects
            ],
        )


def _batches(documents: Iterable[Document | RejectedLine]) -> Iterator[list[Document | RejectedLine]]:
    """Batches that are bounded by the size of their texts."""
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
