"""Cursors of lists: where the next page begins, of which request, and as of which batch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from math import isfinite

import orjson

from api.analytics.cursor_text import decode, encode
from api.contract.exposures import Endpoint
from api.contract.page_query import PAGE_AFTER, Position
from api.contract.publication import Publication, PublishedState
from api.db.request_context import AS_OF
from api.errors import CursorExpired, InvalidCursor

KIND = "mailmart cursor"
VERSION = 1
# of a day from which a time range is counted: each of its dates is one of Python's
FIRST_YEAR, LAST_YEAR = 1973, 9998
# the texts of PostgreSQL's types, as far as it reads them again; a text is itself
TEXTS = {
    **dict.fromkeys(("smallint", "integer", "int", "bigint"), re.compile(r"-?[0-9]{1,19}")),
    "numeric": re.compile(r"-?[0-9]{1,500}(\.[0-9]{1,500})?"),
    "double precision": re.compile(r"-?[0-9]{1,50}(\.[0-9]{1,50})?(e[+-][0-9]{1,3})?|NaN|-?Infinity"),
    "date": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
}
INTEGER_BITS = {"smallint": 15, "integer": 31, "int": 31, "bigint": 63}
# settings in which the pages of one list may differ
OF_A_PAGE = frozenset({AS_OF, PAGE_AFTER, "mailmart.page_limit"})


@dataclass(frozen=True)
class Cursor:
    """The end of a page.

    Attributes:
        batch_id: the batch that the page was read as of.
        day: the UTC date from which time ranges such as 30d were counted.
        publication: a hash of what was published.
        request: a hash of the request's other parameters.
        position: the page's last row.
    """

    batch_id: int
    day: date
    publication: str
    request: str
    position: Position

    def encode(self) -> str:
        """The text for the client."""
        position = self.position
        return encode(
            KIND,
            [VERSION, self.batch_id, self.day.isoformat(), self.publication, self.request, position.value, position.row_id],
        )


def cursor_after(
    last: Position, endpoint: Endpoint, settings: Mapping[str, str], publication: Publication, state: PublishedState, day: date
) -> Cursor:
    """The cursor of the page after this last row, which was read as of `state` under these settings."""
    return Cursor(state.batch_id, day, publication_hash(publication, state), request_hash(endpoint, settings), last)


def decode_cursor(text: str) -> Cursor:
    """The cursor of a text from `Cursor.encode`.

    Raises:
        InvalidCursor: the text is no cursor, or was changed.
    """
    try:
        version, batch_id, day, publication, request, value, row_id = decode(KIND, text)
        if version != VERSION:
            raise InvalidCursor
        cursor = Cursor(batch_id, date.fromisoformat(day), publication, request, Position(value, row_id))
    except (ValueError, TypeError) as error:
        raise InvalidCursor from error
    if not FIRST_YEAR <= cursor.day.year <= LAST_YEAR:
        raise InvalidCursor
    return cursor


def check_position(position: Position, data_type: str) -> None:
    """Checks the end of a page of rows that are sorted by a column of this type: a cursor is what a client sends.

    Raises:
        InvalidCursor: PostgreSQL could not read it.
    """
    if not _is_text(position.row_id):
        raise InvalidCursor
    value = position.value
    if value is not None and not (_is_text(value) and _is_readable(value, data_type)):
        raise InvalidCursor


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_readable(value: str, data_type: str) -> bool:
    """Whether PostgreSQL can cast the text to the type."""
    if data_type in TEXTS and TEXTS[data_type].fullmatch(value) is None:
        return False
    if data_type in INTEGER_BITS:
        bound: int = 2 ** INTEGER_BITS[data_type]
        return -bound <= int(value) < bound
    if data_type == "double precision":
        # what is too large for Python is too large for PostgreSQL
        return value.endswith(("NaN", "Infinity")) or isfinite(float(value))
    if data_type == "date":
        try:
            date.fromisoformat(value)
        except ValueError:
            return False
    return True


def published_state(cursor: Cursor, publication: Publication) -> PublishedState:
    """The batch that the next page is read as of: that of the page before, if it can still be read.

    Raises:
        CursorExpired: it cannot: there were two publications since, or an erasure, or endpoints of another release.
    """
    for state in publication.readable:
        if state.batch_id == cursor.batch_id and publication_hash(publication, state) == cursor.publication:
            return state
    raise CursorExpired


def publication_hash(publication: Publication, state: PublishedState) -> str:
    """A hash of a published batch and the contract that reads it. With the time: a restored database reuses batch ids."""
    return _hash([publication.contract_id, str(publication.revision), str(state.batch_id), state.data_as_of.isoformat()])


def request_hash(endpoint: Endpoint, settings: Mapping[str, str]) -> str:
    """A hash of what all pages of a list have in common: endpoint, workspace, window, filters, search and order."""
    return _hash(
        [endpoint.name, *(text for name in sorted(settings) if name not in OF_A_PAGE for text in (name, settings[name]))]
    )


def _hash(parts: Iterable[str]) -> str:
    return blake2b(orjson.dumps(list(parts)), digest_size=8).hexdigest()
