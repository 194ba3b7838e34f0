"""Pages of lists, newest first. A cursor is the time and the id of the last item, encoded as text."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from api.db.paging import Position
from api.errors import INVALID, ValidationFailed

T = TypeVar("T")


def list_page(
    query: Mapping[str, Any], read: Callable[[int, Position | None], Sequence[T]], position: Callable[[T], Position]
) -> tuple[Sequence[T], str | None]:
    """The items of a page, and the cursor of the next one; None on the last.

    Args:
        query: `limit`, and `cursor` unless it is the first page.
        read: up to so many items after a position, in the order of the list.
        position: the time and the id of an item.

    Raises:
        ValidationFailed: the cursor is invalid.
    """
    limit = query["limit"]
    # one more than the page, to know whether there is a next page
    items = read(limit + 1, _decode_cursor(query["cursor"]) if "cursor" in query else None)
    page = items[:limit]
    return page, _encode_cursor(*position(page[-1])) if len(items) > limit else None


def _encode_cursor(time: datetime, item_id: str) -> str:
    """The cursor of the page after this item."""
    return base64.urlsafe_b64encode(f"{time.isoformat()}|{item_id}".encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> Position:
    """The time and the id of the last item before the page.

    Raises:
        ValidationFailed: the cursor is invalid.
    """
    try:
        text, _, item_id = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition("|")
        time = datetime.fromisoformat(text)
        if time.tzinfo is None or "\0" in item_id:
            raise ValueError(cursor)
        # PostgreSQL accepts fewer offsets than Python
        return time.astimezone(UTC), item_id
    except (ValueError, OverflowError, binascii.Error) as error:
        raise ValidationFailed(INVALID, details={"cursor": ["Must be the next_cursor of another page."]}) from error
