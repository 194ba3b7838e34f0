"""Signed links to exported files in local storage: whoever has a link can download the file until the link expires.

The database signs and checks them (app.sign_export_link, app.link_signature, app.find_export_file): only its owner can read the
secret.
"""

from __future__ import annotations

import re
import time
from urllib.parse import quote, urlencode

# of the route of files in local storage. Here, because the worker makes links and has no routes: importing Flask, and what a
# route needs, took it a third of its start
PATH = "/downloads"
SIGNATURE = re.compile(r"[0-9a-f]{64}")


def signed_url(public_url: str, path: str, key: str, expires_at: int, signature: str) -> str:
    """The link to a file: `path` is the route's path up to the storage key, `expires_at` a Unix time in seconds."""
    query = urlencode({"expires": expires_at, "signature": signature})
    return f"{public_url}{path}/{quote(key)}?{query}"


def parse_link(expires_at: str, signature: str, now: float | None = None) -> tuple[int, str] | None:
    """The expiry (a Unix time in seconds) and the signature of a request; None if they can only be invalid, or are expired.

    The database is not asked about what is malformed.
    """
    if not (expires_at.isascii() and expires_at.isdigit() and len(expires_at) <= 12):
        return None
    # a number with leading zeros is not the text that was signed
    if str(int(expires_at)) != expires_at or (time.time() if now is None else now) >= int(expires_at):
        return None
    return (int(expires_at), signature) if SIGNATURE.fullmatch(signature) else None
