"""Postal: RSA over the body, with SHA-256 since Postal 3 and with SHA-1 before. Both headers are there since then."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from api.errors import SignatureError
from api.intake.signatures.fields import decode_base64, header
from api.intake.signatures.public_keys import read_public_key
from api.intake.signatures.request import SignedRequest

HEADER = "X-Postal-Signature-256"
OLD_HEADER = "X-Postal-Signature"


def verify(secrets: Sequence[str], request: SignedRequest) -> None:
    """Raises SignatureError."""
    is_old = HEADER.lower() not in request.headers
    name = OLD_HEADER if is_old else HEADER
    algorithm: HashAlgorithm = SHA1() if is_old else SHA256()  # noqa: S303 - old releases of Postal have nothing else
    signature = decode_base64(header(request, name), f"the header {name}")
    if not any(_is_signed(read_key(secret), signature, request.body, algorithm) for secret in secrets):
        raise SignatureError(f"the header {name} does not match the body")


def read_key(secret: str) -> RSAPublicKey:
    """The installation's public key. Raises ValueError: the secret is no such key."""
    key = read_public_key(secret)
    if not isinstance(key, RSAPublicKey):
        raise ValueError("it is not a public RSA key")  # noqa: TRY004 - of the text
    return key


def _is_signed(key: RSAPublicKey, signature: bytes, signed: bytes, algorithm: HashAlgorithm) -> bool:
    try:
        key.verify(signature, signed, PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    return True
