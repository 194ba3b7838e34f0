"""A batch of documents that PostgreSQL loads and checks: which of them were rejected, and what if it cannot read one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import psycopg

from api.ingest.arrays import split_array
from api.ingest.bodies import BadBody, Problem
from api.ingest.reader import Document, RejectedLine, rejected

# SQLSTATEs of errors that data cause: data exceptions, checks of the database, program limits
ERRORS_OF_DATA = ("22", "23", "54", "P0001", "XX000")
# those that data can cause, too: memory, a timeout
ERRORS_OF_LARGE_DATA = (*ERRORS_OF_DATA, "53200", "57014")

# what a statement of a batch returns: the document's place in the batch (from 1), the number of inserted rows, the problem, the
# reason, and an event's place in the document's array. One row has no document: the number of inserted rows.
Row = tuple[int | None, int | None, str | None, str | None, int | None]
# loads documents in a transaction, or behind a savepoint
Insert = Callable[[Sequence[Document]], Sequence[Row]]


def load_batch(insert: Insert, batch: Sequence[Document]) -> tuple[int, list[RejectedLine]]:
    """Loads a batch. Returns the number of inserted rows, and the rejected documents.

    A batch that fails is loaded in halves, down to the document that fails alone, which is rejected.

    Raises:
        psycopg.Error: an error that no document causes.
    """
    try:
        rows = insert(batch)
    except psycopg.Error as error:
        if not (error.sqlstate or "").startswith(ERRORS_OF_LARGE_DATA):
            raise
        if len(batch) == 1:
            return 0, [rejected(batch[0].line, bad_body_of(error), batch[0].text.encode())]
    else:
        return sum(count or 0 for document, count, *_ in rows if document is None), list(_rejected(batch, rows))
    middle = len(batch) // 2
    first, second = load_batch(insert, batch[:middle]), load_batch(insert, batch[middle:])
    return first[0] + second[0], first[1] + second[1]


def bad_body_of(error: psycopg.Error) -> BadBody:
    """What is wrong with a body that fails alone."""
    return BadBody("unreadable_body", f"PostgreSQL cannot read it: {error.diag.message_primary}")


def _rejected(batch: Sequence[Document], rows: Sequence[Row]) -> Iterator[RejectedLine]:
    """The rejected lines; of an array of native events, the text of the event alone."""
    found = [(number, problem, reason, place) for number, _, problem, reason, place in rows if number is not None]
    split_number = 0
    elements: list[bytes] = []
    for number, problem, reason, place in sorted(found, key=lambda row: (row[0], row[3] or 0)):
        document = batch[number - 1]
        body = document.text.encode()
        if place is not None and body.startswith(b"["):
            if split_number != number:
                split_number, elements = number, [element for _, element in split_array([body])]
            body = elements[place - 1]
        yield rejected(document.line, BadBody(cast(Problem, problem), reason or ""), body)
