"""What a signature is verified against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class SignedRequest:
    """A webhook as it arrived.

    Attributes:
        url: the URL that the provider calls, as the operator pasted it: with scheme, public host, path and query.
        headers: by name in lower case.
        body: as it was sent, before decompression of its content is undone by a proxy; every byte counts.
        form: the fields, decoded, of a body that is a form; None for any other body.
        received_at: with a time zone.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes
    form: Mapping[str, str] | None
    received_at: datetime
