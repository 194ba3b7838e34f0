"""Links to exported files in a local folder: whoever has one may fetch the file until it expires."""

from __future__ import annotations

import hashlib
import hmac
import time
from urllib.parse import quote, urlencode

# what the signature is for: the secret may sign other things as well
PURPOSE = "mailmart export"


def link(public_url: str, path: str, secret: bytes, key: str, expires_at: int) -> str:
    """The address of a file; `path` is the route's, up to the key."""
    query = urlencode({"expires": expires_at, "signature": sign(secret, key, expires_at)})
    return f"{public_url}{path}/{quote(key)}?{query}"


def sign(secret: bytes, key: str, expires_at: int) -> str:
    """The signature of a key (the export's id and the attempt's token) and of when it expires, in seconds of Unix.

    Raises:
        ValueError: the secret is empty, with which anybody could sign.
    """
    if not secret:
        raise ValueError("the secret that signs links is empty")
    # no part can hold a line's end, so no two lists of parts are one text
    signed = "\n".join((PURPOSE, str(expires_at), key))
    return hmac.new(secret, signed.encode(), hashlib.sha256).hexdigest()


def is_valid(secret: bytes, key: str, expires_at: str, signature: str, now: float | None = None) -> bool:
    """Whether a link as it came in a request is ours, and has not expired."""
    if not (expires_at.isascii() and expires_at.isdigit() and len(expires_at) <= 12):
        return False
    # as it was signed: a number with zeros before it is another text
    if str(int(expires_at)) != expires_at or (time.time() if now is None else now) >= int(expires_at):
        return False
    return hmac.compare_digest(sign(secret, key, int(expires_at)).encode(), signature.encode(errors="surrogatepass"))
