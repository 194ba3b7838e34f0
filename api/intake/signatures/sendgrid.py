"""SendGrid: ECDSA with SHA-256 over a timestamp and the body. The age is not checked: events have ids, and repeat nothing."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from api.errors import SignatureError
from api.intake.signatures.fields import decode_base64, header
from api.intake.signatures.public_keys import read_public_key
from api.intake.signatures.request import SignedRequest

HEADER = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP_HEADER = "X-Twilio-Email-Event-Webhook-Timestamp"


def verify(secrets: Sequence[str], request: SignedRequest) -> None:
    """Raises SignatureError."""
    signature = decode_base64(header(request, HEADER), f"the header {HEADER}")
    signed = header(request, TIMESTAMP_HEADER).encode(errors="replace") + request.body
    if not any(_is_signed(read_key(secret), signature, signed) for secret in secrets):
        raise SignatureError(f"the header {HEADER} does not match the timestamp and the body")


def read_key(secret: str) -> EllipticCurvePublicKey:
    """The verification key. Raises ValueError: the secret is no such key."""
    key = read_public_key(secret)
    if not isinstance(key, EllipticCurvePublicKey):
        raise ValueError("it is not a public key of an elliptic curve")  # noqa: TRY004 - of the text
    return key


def _is_signed(key: EllipticCurvePublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
