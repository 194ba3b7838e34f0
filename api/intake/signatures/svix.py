"""Standard Webhooks, as Svix sends them for Resend: HMAC-SHA256 in base64 over id, timestamp and body."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import timedelta

from api.errors import SignatureError
from api.intake.signatures.fields import check_age, header
from api.intake.signatures.request import SignedRequest

PREFIX = "whsec_"
VERSION = "v1"
# the timestamp is the attempt's, so a retry has a new one; Svix' own libraries allow as much
TOLERANCE = timedelta(minutes=5)
MIN_KEY_BYTES = 16


def verify(secrets: Sequence[str], request: SignedRequest) -> None:
    """Raises SignatureError."""
    # Svix sends its own names, Standard Webhooks the others
    prefix = "svix" if "svix-signature" in request.headers else "webhook"
    signatures = header(request, f"{prefix}-signature")
    webhook_id = header(request, f"{prefix}-id")
    timestamp = header(request, f"{prefix}-timestamp")
    check_age(timestamp, request, TOLERANCE)
    signed = f"{webhook_id}.{timestamp}.".encode(errors="replace") + request.body
    expected = [base64.b64encode(hmac.digest(read_key(secret), signed, hashlib.sha256)) for secret in secrets]
    sent = [value.encode(errors="replace") for value in _values(signatures)]
    if not any(hmac.compare_digest(one, other) for one in expected for other in sent):
        raise SignatureError(f"no signature of the header {prefix}-signature matches the id, the timestamp and the body")


def read_key(secret: str) -> bytes:
    """The key of a secret. Raises ValueError: the secret has no key."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"it does not begin with {PREFIX}")
    content = secret.removeprefix(PREFIX).rstrip("=")
    try:
        key = base64.b64decode(content + "=" * (-len(content) % 4), validate=True)
    except ValueError:
        raise ValueError(f"what follows {PREFIX} is not base64") from None
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"what follows {PREFIX} is too short")
    return key


def _values(signatures: str) -> list[str]:
    """The signatures of our version: `v1,… v1a,… v1,…`."""
    parts = [part.partition(",") for part in signatures.split(" ")]
    return [value for version, _, value in parts if version == VERSION]
