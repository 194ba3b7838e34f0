"""The text of a cursor: the position at which a page ended, and a checksum.

A cursor is opaque, not secret. A changed one is refused; whoever makes one with a right checksum reads rows of the credential's
workspace, as without it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import orjson

from api.errors import InvalidCursor

CHECKSUM_BYTES = 6


def encode(kind: str, content: Sequence[Any]) -> str:
    """The text for the client. `kind`, of at most 16 characters, distinguishes the cursors of different operations."""
    data = orjson.dumps(content)
    return base64.urlsafe_b64encode(_checksum(kind, data) + data).decode().rstrip("=")


def decode(kind: str, text: str) -> list[Any]:
    """The content of a text from `encode`.

    Raises:
        InvalidCursor: the text is no cursor of this kind, or was changed.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        checksum, data = raw[:CHECKSUM_BYTES], raw[CHECKSUM_BYTES:]
        if checksum != _checksum(kind, data):
            raise InvalidCursor
        content = orjson.loads(data)
    # a text that is not ASCII is a ValueError, too
    except (ValueError, binascii.Error) as error:
        raise InvalidCursor from error
    if not isinstance(content, list):
        raise InvalidCursor
    return content


def _checksum(kind: str, data: bytes) -> bytes:
    return blake2b(data, digest_size=CHECKSUM_BYTES, person=kind.encode()).digest()
