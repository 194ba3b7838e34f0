"""HMAC-SHA256 of the body in hexadecimal digits, in a header: MailerSend, Mailtrap."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import orjson

from api.errors import SignatureError
from api.intake.signatures.fields import header
from api.intake.signatures.request import SignedRequest

MAILERSEND_HEADER = "Signature"
MAILTRAP_HEADER = "Mailtrap-Signature"
# MailerSend documents it: it signs the test by which it checks a URL before the webhook, and so its secret, exists
MAILERSEND_TEST_SECRET = "test_Am3L1GuOIc4blLUuHqAPxxwkZaJyEk8G"  # noqa: S105 - public
MAILERSEND_TEST_TYPE = "webhook.test"
MIN_CHARACTERS = 8


def verify_mailersend(secrets: Sequence[str], request: SignedRequest) -> None:
    """Raises SignatureError."""
    signature = header(request, MAILERSEND_HEADER)
    if _is_signed(signature, secrets, request.body):
        return
    if _is_signed(signature, [MAILERSEND_TEST_SECRET], request.body) and _type_of(request.body) == MAILERSEND_TEST_TYPE:
        return
    raise SignatureError(f"the header {MAILERSEND_HEADER} does not match the body")


def verify_mailtrap(secrets: Sequence[str], request: SignedRequest) -> None:
    """Raises SignatureError."""
    if not _is_signed(header(request, MAILTRAP_HEADER), secrets, request.body):
        raise SignatureError(f"the header {MAILTRAP_HEADER} does not match the body")


def check_secret(secret: str) -> None:
    """Raises ValueError: no key that a provider gives out."""
    if len(secret) < MIN_CHARACTERS:
        raise ValueError(f"it has less than {MIN_CHARACTERS} characters")
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ValueError("it has spaces, or characters other than ASCII")


def _is_signed(signature: str, secrets: Sequence[str], body: bytes) -> bool:
    sent = signature.lower().encode(errors="replace")
    expected = [hmac.new(secret.encode(errors="replace"), body, hashlib.sha256).hexdigest().encode() for secret in secrets]
    return any(hmac.compare_digest(one, sent) for one in expected)


def _type_of(body: bytes) -> object:
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return event.get("type") if isinstance(event, dict) else None
