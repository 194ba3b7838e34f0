"""HTTP authentication, where a provider signs nothing: Basic, a bearer token, or a token in a header of its own.

Postmark, Mailjet, Brevo and SparkPost send what the operator entered beside the URL. It proves who sends, not what.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence

from api.errors import SignatureError
from api.intake.signatures.fields import header
from api.intake.signatures.request import SignedRequest

MIN_CHARACTERS = 8
# SparkPost's token of a webhook that has neither Basic nor OAuth 2.0
SPARKPOST_HEADER = "x-messagesystems-webhook-token"


def verify_basic(secrets: Sequence[str], request: SignedRequest) -> None:
    """Secrets are `user:password`. Raises SignatureError."""
    _verify_authorization(secrets, request, schemes=("basic",))


def verify_basic_or_bearer(secrets: Sequence[str], request: SignedRequest) -> None:
    """A secret is `user:password` or a token; either may be sent in either way. Raises SignatureError."""
    _verify_authorization(secrets, request, schemes=("basic", "bearer"))


def verify_sparkpost(secrets: Sequence[str], request: SignedRequest) -> None:
    """As `verify_basic_or_bearer`, or the token in SparkPost's own header. Raises SignatureError."""
    if "authorization" not in request.headers and SPARKPOST_HEADER in request.headers:
        _compare(secrets, _bytes(header(request, SPARKPOST_HEADER)))
    else:
        verify_basic_or_bearer(secrets, request)


def check_basic(secret: str) -> None:
    """Raises ValueError: not `user:password`."""
    user, colon, password = secret.partition(":")
    if not (user and colon and password):
        raise ValueError("it is not a user and a password with a colon between them")
    check_token(secret)


def check_token(secret: str) -> None:
    """Raises ValueError: too short, or with characters that a header cannot carry."""
    if len(secret) < MIN_CHARACTERS:
        raise ValueError(f"it has less than {MIN_CHARACTERS} characters")
    if not secret.isprintable():
        raise ValueError("it has characters that cannot be printed")


def _verify_authorization(secrets: Sequence[str], request: SignedRequest, schemes: tuple[str, ...]) -> None:
    scheme, _, value = header(request, "Authorization").partition(" ")
    scheme = scheme.lower()
    if scheme not in schemes:
        raise SignatureError(f"the header Authorization is not {' or '.join(schemes)}")
    value = value.strip()
    if scheme == "bearer":
        _compare(secrets, _bytes(value))
        return
    try:
        sent = base64.b64decode(value, validate=True)
    except ValueError:
        raise SignatureError("the credentials of the header Authorization are not base64") from None
    _compare(secrets, sent)


def _compare(secrets: Sequence[str], sent: bytes) -> None:
    if not any(hmac.compare_digest(_bytes(secret), sent) for secret in secrets):
        raise SignatureError("the credentials are wrong")


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")
