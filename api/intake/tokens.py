"""The secret end of a source's URL: `<source id>_<secret>`. Only a hash of the whole token is stored."""

from __future__ import annotations

import hashlib
import re
import secrets
from functools import lru_cache

# whose hashes are kept
MAX_TOKENS = 4096
TOKEN_PATTERN = re.compile(r"[0-9a-f]{12}_[A-Za-z0-9_-]{43}")


def new_source_id() -> str:
    """A random id."""
    return secrets.token_hex(6)


def new_token(source_id: str) -> str:
    """A token of a source, with 256 random bits."""
    return f"{source_id}_{secrets.token_urlsafe(32)}"


@lru_cache(MAX_TOKENS)
def hash_token(token: str) -> bytes:
    """SHA-256. The token has 256 random bits: a salt or key stretching would gain nothing."""
    return hashlib.sha256(token.encode()).digest()


def source_url(public_url: str, provider: str, token: str) -> str:
    """The URL to paste into the provider's settings."""
    return f"{public_url}/intake/{provider}/{token}"
