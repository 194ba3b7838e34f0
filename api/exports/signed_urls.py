"""Signed links to exported files in local storage: whoever has a link can download the file until the link expires."""

from __future__ import annotations

import hashlib
import hmac
import time
from urllib.parse import quote, urlencode

# separates these signatures from any other use of the secret
PURPOSE = "mailmart export"


def signed_url(public_url: str, path: str, secret: bytes, key: str, expires_at: int) -> str:
    """The link to a file: `path` is the route's path up to the storage key, `expires_at` a Unix time in seconds."""
    query = urlencode({"expires": expires_at, "signature": sign(secret, key, expires_at)})
    return f"{public_url}{path}/{quote(key)}?{query}"


def sign(secret: bytes, key: str, expires_at: int) -> str:
    """The signature (hexadecimal HMAC-SHA256) of a storage key and an expiry, a Unix time in seconds.

    Raises:
        ValueError: the secret is empty, so anybody could sign.
    """
    if not secret:
        raise ValueError("the secret that signs links is empty")
    # no part can contain a line feed, so different parts never give the same text
    signed = "\n".join((PURPOSE, str(expires_at), key))
    return hmac.new(secret, signed.encode(), hashlib.sha256).hexdigest()


def is_valid(secret: bytes, key: str, expires_at: str, signature: str, now: float | None = None) -> bool:
    """Whether the expiry and signature of a request are ours and the link has not expired."""
    if not (expires_at.isascii() and expires_at.isdigit() and len(expires_at) <= 12):
        return False
    # a number with leading zeros is not the text that was signed
    if str(int(expires_at)) != expires_at or (time.time() if now is None else now) >= int(expires_at):
        return False
    return hmac.compare_digest(sign(secret, key, int(expires_at)).encode(), signature.encode(errors="surrogatepass"))
