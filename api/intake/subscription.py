"""Confirms the subscription of a source to a topic of SNS, which sends nothing before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from api.errors import HttpGetFailed, SignatureError, SubscriptionUnconfirmed
from api.intake.signatures.request import SignedRequest
from api.intake.signatures.verify import verify

TIMEOUT_SECONDS = 5
CONFIRMATIONS = ("SubscriptionConfirmation", "UnsubscribeConfirmation")


def confirmation_of(content: bytes) -> dict[str, Any] | None:
    """The message of SNS, if it is about a subscription and not about mail."""
    # a body of mail has the word only as a part of something else, and is not parsed here
    if not any(name.encode() in content for name in CONFIRMATIONS):
        return None
    try:
        message = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) and message.get("Type") in CONFIRMATIONS else None


def call(url: str) -> int:
    """The status of a GET of the URL, which follows no redirects.

    Raises:
        SubscriptionUnconfirmed: the server is unavailable.
    """
    # imports urllib3
    from api.net.http_get import http_get

    try:
        # what it says is not read
        return http_get(url, seconds=TIMEOUT_SECONDS, max_bytes=0).status
    except HttpGetFailed as error:
        raise SubscriptionUnconfirmed(f"SNS cannot be called: {error.reason}") from error


def confirm(message: dict[str, Any], request: SignedRequest, call: Callable[[str], int] = call) -> bool:
    """Confirms a subscription: calls the URL in the message. False if the message is of another type: nothing is to be done.

    The signature is verified even if the source has no secret: only SNS itself may make this process call a URL.

    Raises:
        SignatureError: SNS did not sign the message, or the URL is not one of SNS.
        CertificateUnavailable: the certificate cannot be downloaded now.
        SubscriptionUnconfirmed: the URL cannot be called now.
    """
    verify("ses", [str(message.get("TopicArn"))], replace(request, form=None))
    if message.get("Type") != "SubscriptionConfirmation":
        return False
    from api.intake.signatures.sns import is_sns_url

    url = str(message.get("SubscribeURL"))
    if not is_sns_url(url):
        raise SignatureError("the SubscribeURL is not an https URL of SNS")
    status = call(url)
    if status != 200:
        raise SubscriptionUnconfirmed(f"SNS answers {status} to the confirmation")
    return True
