"""Mandrill (Mailchimp Transactional): HMAC-SHA1 in base64, of the URL and the form's fields, sorted by name."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from api.errors import SignatureError
from api.intake.signatures.fields import header
from api.intake.signatures.request import SignedRequest

HEADER = "X-Mandrill-Signature"
# Mandrill documents it: it signs the test, without any event, by which it checks a URL before the webhook and its key exist
TEST_KEY = "test-webhook"


def verify(secrets: Sequence[str], request: SignedRequest) -> None:
    """Raises SignatureError."""
    signature = header(request, HEADER)
    if request.form is None:
        raise SignatureError("the body is not a form")
    signed = request.url + "".join(name + value for name, value in sorted(request.form.items()))
    keys = list(secrets)
    if request.form.get("mandrill_events") == "[]":
        keys.append(TEST_KEY)
    sent = signature.encode(errors="replace")
    if not any(hmac.compare_digest(_sign(key, signed), sent) for key in keys):
        url = _without_token(request.url)
        raise SignatureError(f"the header {HEADER} does not match the form and the URL {url}: Mandrill must call just this URL")


def _sign(key: str, signed: str) -> bytes:
    return base64.b64encode(hmac.new(key.encode(errors="replace"), signed.encode(errors="replace"), hashlib.sha1).digest())


def _without_token(url: str) -> str:
    return url.rpartition("/")[0] + "/…"
