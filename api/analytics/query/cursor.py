"""Cursors of a query's pages: where the page before ended, and of which query it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import orjson

from api.analytics.cursor_text import decode, encode
from api.analytics.query.request import TIME, Query
from api.errors import InvalidCursor

KIND = "mailmart query"
# what may differ between two pages
OF_PAGE = ("cursor", "limit", "names")
# what PostgreSQL's types hold: a cursor is what a client sends
MAX_INTEGER = 2**31 - 1
MAX_NUMBER = 10**15


def encode_cursor(body: Mapping[str, Any], values: Sequence[Any]) -> str:
    """The cursor of the page after a row with these values of the query's order."""
    return encode(KIND, [_digest(body), *(value.isoformat() if isinstance(value, date) else value for value in values)])


def decode_cursor(body: Mapping[str, Any], query: Query) -> tuple[Any, ...] | None:
    """The values of the last row of the page before; None for the first page.

    Raises:
        InvalidCursor: the cursor is not one of this query, or was changed.
    """
    if "cursor" not in body:
        return None
    try:
        digest, *values = decode(KIND, body["cursor"])
        if digest != _digest(body):
            raise InvalidCursor("Is of another query: except for limit and names, send the body of the first page.")
        kinds = {dimension.name: dimension.kind for dimension in query.dimensions}
        return tuple(_checked(order.field, value, kinds, query) for order, value in zip(query.order, values, strict=True))
    except (ValueError, TypeError) as error:
        raise InvalidCursor from error


def _checked(field: str, value: Any, kinds: Mapping[str, str], query: Query) -> Any:
    """A value that PostgreSQL can read.

    Raises:
        ValueError: it is not of the field's type.
    """
    if field == TIME:
        moment = datetime.fromisoformat(value)
        return moment.isoformat() if query.granularity == "hour" else moment.date().isoformat()
    if kinds.get(field) == "string":
        is_valid = isinstance(value, str) and "\0" not in value
    elif isinstance(value, bool):
        is_valid = kinds.get(field) == "boolean"
    else:
        is_number = isinstance(value, int | float) and abs(value) <= (MAX_INTEGER if field in kinds else MAX_NUMBER)
        is_valid = is_number or (value is None and field not in kinds)
    if not is_valid:
        raise ValueError(field)
    return value


def _digest(body: Mapping[str, Any]) -> str:
    content = {name: value for name, value in body.items() if name not in OF_PAGE}
    return hashlib.blake2b(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), digest_size=9).hexdigest()
