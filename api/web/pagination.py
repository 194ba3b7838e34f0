"""Cursors of paginated lists: the time and the id of the last item, encoded as text."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

from api.errors import INVALID, ValidationFailed


def encode_cursor(time: datetime, item_id: str) -> str:
    """The cursor of the page after this item."""
    return base64.urlsafe_b64encode(f"{time.isoformat()}|{item_id}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[datetime, str]:
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
