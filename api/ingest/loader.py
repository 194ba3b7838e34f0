"""Loads documents with COPY, one transaction a batch. PostgreSQL checks them and returns the rejected ones with a reason."""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

import psycopg

from api.db.connection import connect
from api.errors import MailmartError
from api.ingest.arrays import split_array
from api.ingest.bodies import BadBody, Problem
from api.ingest.reader import Document, RejectedLine, rejected
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
# a batch takes one or two seconds; one that takes much longer has a document that is set aside
STATEMENT_TIMEOUT_SECONDS = 120
LOCK_TIMEOUT_SECONDS = 30
# SQLSTATEs of errors that data can cause: data exceptions, program limits, memory, a timeout, checks of the database
ERRORS_OF_DATA = ("22", "23", "54", "53200", "57014", "P0001", "XX000")


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
        connection.execute("create temporary table incoming (line bigint, body text) on commit delete rows")
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


def _load_batch(target: _Target, batch: list[Document]) -> tuple[int, list[RejectedLine]]:
    """Loads a batch. One that fails is loaded in halves, down to the document that fails alone, which is rejected."""
    try:
        return _insert(target, batch)
    except psycopg.errors.LockNotAvailable as error:
        raise MailmartError(
            f"another session has locked the table for {LOCK_TIMEOUT_SECONDS} s: {str(error).strip()}",
            hint="Find it in pg_stat_activity, and load the file again when it has ended.",
        ) from error
    except psycopg.Error as error:
        if target.connection.broken or not (error.sqlstate or "").startswith(ERRORS_OF_DATA):
            raise
        if len(batch) == 1:
            reason = f"PostgreSQL cannot read it: {error.diag.message_primary}"
            return 0, [rejected(batch[0].line, BadBody("unreadable_body", reason), batch[0].text.encode())]
    middle = len(batch) // 2
    first, second = _load_batch(target, batch[:middle]), _load_batch(target, batch[middle:])
    return first[0] + second[0], first[1] + second[1]


def _insert(target: _Target, batch: list[Document]) -> tuple[int, list[RejectedLine]]:
    statement = _statement("insert_events.sql" if target.provider == "native" else "insert_payloads.sql")
    with target.connection.transaction(), target.connection.cursor() as cursor:
        cursor.execute(
            f"set local statement_timeout = '{STATEMENT_TIMEOUT_SECONDS}s'; set local lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"
        )
        with cursor.copy("copy incoming (line, body) from stdin") as copy:
            for document in batch:
                copy.write_row((document.line, document.text))
        rows = cursor.execute(statement, {"provider": target.provider, "workspace_id": target.workspace_id}).fetchall()
    rejects = [row for row in rows if row[0] is not None]
    return sum(count for line, count, *_ in rows if line is None), list(_rejected(batch, rejects)) if rejects else []


def _rejected(batch: list[Document], rows: list[tuple[int, None, str, str, int | None]]) -> Iterator[RejectedLine]:
    """The rejected lines; of an array of native events, the text of the event alone."""
    texts = {document.line: document.text for document in batch}
    split_line: int | None = None
    elements: list[bytes] = []
    for line, _, problem, reason, ordinal in sorted(rows, key=lambda row: (row[0], row[4] or 0)):
        body = texts[line].encode()
        if ordinal is not None and body.startswith(b"["):
            if split_line != line:
                split_line, elements = line, [element for _, element in split_array([body])]
            body = elements[ordinal - 1]
        yield rejected(line, BadBody(cast(Problem, problem), reason), body)


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
