"""Amazon SES through SNS: RSA over some fields of the message, with SHA-1 (version 1) or SHA-256 (version 2).

Every topic of every AWS account has signatures as good as the operator's, so the secret is the ARN of the topic that may post.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import urlsplit

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.x509 import Certificate

from api.errors import SignatureError
from api.intake.signatures.fields import decode_base64, text_field
from api.intake.signatures.request import SignedRequest

RAW_DELIVERY_HEADER = "x-amz-sns-rawdelivery"
_HOST = re.compile(r"sns\.[a-z0-9-]{3,40}\.amazonaws\.com(?:\.cn)?")
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
# by type, in the order in which they are signed
SIGNED_FIELDS = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
ALGORITHMS: dict[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - the default of topics is version 1


def verify(secrets: Sequence[str], request: SignedRequest, certificate_of: Callable[[str], Certificate]) -> None:
    """Raises SignatureError, and whatever `certificate_of` raises for a URL of SNS."""
    if RAW_DELIVERY_HEADER in request.headers:
        raise SignatureError("raw message delivery of SNS has no signature: switch it off in the subscription")
    message = _parse(request.body)
    topic = message.get("TopicArn")
    if topic not in secrets:
        raise SignatureError("the message is not from a topic that may send to this source")
    algorithm = ALGORITHMS.get(text_field(message, "SignatureVersion"))
    if algorithm is None:
        raise SignatureError("the field SignatureVersion is neither 1 nor 2")
    signed = _string_to_sign(message)
    signature = decode_base64(text_field(message, "Signature"), "the field Signature")
    # Lambda spells it the other way
    url = text_field(message, "SigningCertURL" if "SigningCertURL" in message else "SigningCertUrl")
    if not (is_sns_url(url) and urlsplit(url).path.endswith(".pem") and not urlsplit(url).query):
        raise SignatureError("the certificate is not at an https URL of SNS that ends in .pem")
    key = _key_of(certificate_of(url), request.received_at)
    try:
        key.verify(signature, signed, PKCS1v15(), algorithm)
    except InvalidSignature:
        raise SignatureError("the field Signature does not match the message") from None


def is_sns_url(url: str) -> bool:
    """Whether a URL is an https URL of SNS itself, on its own port: for certificates, and for confirming a subscription."""
    if not url.isascii() or any(not "!" <= character <= "~" or character in "#\\" for character in url):
        return False
    try:
        parts = urlsplit(url)
        is_port_fine = parts.port in (None, 443)
    except ValueError:
        return False
    has_user = parts.username is not None or parts.password is not None
    return parts.scheme == "https" and is_port_fine and not has_user and _HOST.fullmatch(parts.hostname or "") is not None


def check_topic(secret: str) -> None:
    """Raises ValueError: not the ARN of a topic."""
    if _TOPIC.fullmatch(secret) is None:
        raise ValueError("it is not the ARN of a topic")


def _parse(body: bytes) -> dict[str, object]:
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise SignatureError("the body is not JSON, so it has no signature") from None
    if not isinstance(message, dict) or "Signature" not in message:
        raise SignatureError("the body is not a message of SNS with a signature; raw message delivery has none")
    return message


def _string_to_sign(message: dict[str, object]) -> bytes:
    """The signed fields as lines of their name and value. Only Subject may be missing."""
    names = SIGNED_FIELDS.get(str(message.get("Type")))
    if names is None:
        raise SignatureError("SNS does not sign messages of this Type")
    lines = []
    for name in names:
        value = message.get(name)
        if name == "Subject" and value is None:
            continue
        if not isinstance(value, str):
            raise SignatureError(f"no field {name}")
        lines.append(f"{name}\n{value}\n")
    return "".join(lines).encode(errors="replace")


def _key_of(certificate: Certificate, received_at: datetime) -> RSAPublicKey:
    if not certificate.not_valid_before_utc <= received_at <= certificate.not_valid_after_utc:
        raise SignatureError("the certificate is not valid at this time")
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        raise SignatureError("the certificate does not have an RSA key")
    return key
