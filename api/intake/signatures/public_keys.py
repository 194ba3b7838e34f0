"""Reads public keys as operators copy them: base64 of DER, PEM, a DKIM record or a JSON Web Key Set."""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

MAX_CHARACTERS = 4096
_PEM = re.compile(r"-----BEGIN (?P<kind>[A-Z ]+)-----(?P<base64>[^-]*)-----END (?P=kind)-----")
_DKIM = re.compile(r"(?:^|;)\s*p\s*=(?P<base64>[^;]+)")


@lru_cache(maxsize=1024)
def read_public_key(text: str) -> PublicKeyTypes:
    """Raises ValueError if it is not a public key; the message says why."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has more than {MAX_CHARACTERS} characters")
    if text.lstrip().startswith("{"):
        return _read_key_set(text)
    pem = _PEM.search(text)
    if pem is not None and "PRIVATE" in pem["kind"]:
        raise ValueError("it is a private key")
    found = pem or _DKIM.search(text)
    content = "".join((found["base64"] if found else text).split())
    try:
        return load_der_public_key(base64.b64decode(content, validate=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("it is not a public key; was its end cut off?") from None


def _read_key_set(text: str) -> PublicKeyTypes:
    import jwt

    try:
        key = jwt.PyJWKSet.from_json(text).keys[0].key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("it is not a JSON Web Key Set") from None
    if not hasattr(key, "verify"):
        raise ValueError("its first key is not a public key")
    return cast(PublicKeyTypes, key)
