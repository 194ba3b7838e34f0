"""Mailgun: HMAC-SHA256 of a timestamp and a token, which are in the body; nothing else of the body is signed.

So whoever reads one body could send others with its token. The age is bounded for that reason.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import orjson

from api.errors import SignatureError
from api.ingest.bodies import replace_invalid_escapes
from api.intake.signatures.fields import check_age, text_field
from api.intake.signatures.request import SignedRequest

# Mailgun tries for eight hours
TOLERANCE = timedelta(days=1)
# the second is the account's own, in the webhooks of its subaccounts
SIGNATURES = ("signature", "parent-signature")


def verify(secrets: Sequence[str], request: SignedRequest) -> None:
    """Raises SignatureError."""
    blocks = list(_signature_blocks(request))
    if not blocks:
        raise SignatureError("the body has no field signature")
    problems = [_problem(block, secrets, request) for block in blocks]
    if None not in problems:
        raise SignatureError(str(problems[0]))


def _problem(block: Mapping[str, object], secrets: Sequence[str], request: SignedRequest) -> str | None:
    """Why a signature is not valid; None if it is."""
    try:
        timestamp, token, signature = (text_field(block, name) for name in ("timestamp", "token", "signature"))
        check_age(timestamp, request, TOLERANCE)
    except SignatureError as error:
        return error.reason
    signed = (timestamp + token).encode(errors="replace")
    sent = signature.encode(errors="replace")
    expected = [hmac.new(secret.encode(errors="replace"), signed, hashlib.sha256).hexdigest().encode() for secret in secrets]
    if any(hmac.compare_digest(one, sent) for one in expected):
        return None
    return "the signature does not match the timestamp and the token"


def _signature_blocks(request: SignedRequest) -> Iterator[Mapping[str, object]]:
    if request.form is not None:
        # before 2018: beside the other fields
        yield request.form
        return
    try:
        body = orjson.loads(replace_invalid_escapes(request.body))
    except orjson.JSONDecodeError:
        raise SignatureError("the body is not JSON, so it has no signature") from None
    if not isinstance(body, dict):
        raise SignatureError("the body is not a JSON object, so it has no signature")
    for name in SIGNATURES:
        block = body.get(name)
        if isinstance(block, dict):
            # a number here and there, in what other systems pass on
            yield {field: str(value) if isinstance(value, int) else value for field, value in block.items()}
