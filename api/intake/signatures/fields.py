"""Reads signature fields of a request: whatever a stranger sends is a plain SignatureError, never another exception."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import timedelta

from api.errors import SignatureError
from api.intake.signatures.request import SignedRequest

# the longest that a provider sends is a signature of 4,096 bits in base64, or several of 256
MAX_FIELD_CHARACTERS = 4096
_UNIX_TIME = re.compile(r"[0-9]{1,11}")


def header(request: SignedRequest, name: str) -> str:
    """A header that the signature needs.

    Raises:
        SignatureError: it is missing, empty or too long.
    """
    return _field(request.headers.get(name.lower()), f"header {name}")


def text_field(fields: Mapping[str, object], name: str) -> str:
    """A field of the body that the signature needs. Raises SignatureError as `header` does."""
    value = fields.get(name)
    return _field(value if isinstance(value, str) else None, f"field {name}")


def decode_base64(text: str, name: str) -> bytes:
    """Raises SignatureError: `text` is not base64. `name` is for the reason."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise SignatureError(f"{name} is not base64") from None


def check_age(timestamp: str, request: SignedRequest, tolerance: timedelta) -> None:
    """Raises SignatureError: the time in Unix seconds is not one, or further from the arrival than `tolerance`."""
    if _UNIX_TIME.fullmatch(timestamp) is None:
        raise SignatureError("the timestamp is not a Unix time in seconds")
    age = request.received_at.timestamp() - int(timestamp)
    if abs(age) > tolerance.total_seconds():
        minutes = int(tolerance.total_seconds() // 60)
        raise SignatureError(f"the timestamp is more than {minutes} minutes {'old' if age > 0 else 'ahead'}")


def _field(value: str | None, name: str) -> str:
    if not value:
        raise SignatureError(f"no {name}")
    if len(value) > MAX_FIELD_CHARACTERS:
        raise SignatureError(f"{name} is longer than {MAX_FIELD_CHARACTERS} characters")
    return value
