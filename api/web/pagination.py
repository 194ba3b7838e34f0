"""Places in a list that is read page by page: a moment and an id, as a text that a client sends back."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

from api.errors import INVALID, ValidationFailed


def encode_cursor(moment: datetime, identifier: str) -> str:
    """The place after the thing that is shown last."""
    return base64.urlsafe_b64encode(f"{moment.isoformat()}|{identifier}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[datetime, str]:
    """The place that a cursor stands for.

    Raises:
        ValidationFailed: it is none of ours.
    """
    try:
        text, _, identifier = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition("|")
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None or "\0" in identifier:
            raise ValueError(cursor)
        # PostgreSQL takes fewer offsets than Python
        return moment.astimezone(UTC), identifier
    except (ValueError, OverflowError, binascii.Error) as error:
        raise ValidationFailed(INVALID, details={"cursor": ["Must be a next_cursor, as it was given."]}) from error
