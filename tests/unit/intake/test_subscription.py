"""A subscription to SNS is confirmed if SNS signed the message and the URL is one of SNS. Nothing else is called."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from api.errors import SignatureError, SubscriptionUnconfirmed
from api.intake.signatures import sns_certificates
from api.intake.signatures.request import SignedRequest
from api.intake.signatures.sns import SIGNED_FIELDS
from api.intake.subscription import call, confirm, confirmation_of

NOW = datetime(2026, 11, 26, tzinfo=UTC)
KEY = rsa.generate_private_key(65537, 2048)
URL = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=x"
MESSAGE = {
    "Type": "SubscriptionConfirmation",
    "MessageId": "1",
    "Token": "x",
    "TopicArn": "arn:aws:sns:eu-west-1:123456789012:mail",
    "Message": "You have chosen to subscribe",
    "SubscribeURL": URL,
    "Timestamp": "2026-11-26T00:00:00.000Z",
    "SignatureVersion": "2",
    "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
}


@pytest.fixture(autouse=True)
def certificate_of_sns(monkeypatch: pytest.MonkeyPatch) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(KEY, SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM)
    monkeypatch.setattr(sns_certificates, "_cache", sns_certificates.CertificateCache(lambda url: pem))


def signed(**changes: str) -> dict[str, Any]:
    message = {**MESSAGE, **changes}
    text = "".join(f"{name}\n{message[name]}\n" for name in SIGNED_FIELDS[message["Type"]])
    return {**message, "Signature": base64.b64encode(KEY.sign(text.encode(), padding.PKCS1v15(), SHA256())).decode()}


def request(message: dict[str, Any]) -> SignedRequest:
    return SignedRequest("https://hooks.example.com/", {}, json.dumps(message).encode(), None, NOW)


def test_it_is_confirmed() -> None:
    called: list[str] = []

    def respond(url: str) -> int:
        called.append(url)
        return 200

    message = signed()
    assert confirmation_of(json.dumps(message).encode()) == message
    assert confirm(message, request(message), respond)
    assert called == [URL]
    ended = signed(Type="UnsubscribeConfirmation")
    assert not confirm(ended, request(ended), respond)
    assert called == [URL]
    with pytest.raises(SubscriptionUnconfirmed):
        confirm(message, request(message), lambda url: 500)


@pytest.mark.parametrize(
    "message",
    [
        {**signed(), "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/other"},
        {**MESSAGE},
        {**signed(), "Signature": "AAAA"},
        signed(SubscribeURL="http://sns.eu-west-1.amazonaws.com/"),
        signed(SubscribeURL="https://sns.eu-west-1.amazonaws.com.example.com/"),
        signed(SubscribeURL="https://user@sns.eu-west-1.amazonaws.com:444/"),
        signed(SubscribeURL="https://169.254.169.254/latest/meta-data"),
        signed(SigningCertURL="https://example.com/own.pem"),
        signed(TopicArn="none"),
    ],
)
def test_nothing_else_is_called(message: dict[str, Any]) -> None:
    called: list[str] = []
    with pytest.raises(SignatureError):
        confirm(message, request(message), lambda url: called.append(url) or 200)  # type: ignore[func-returns-value]
    assert called == []


def test_mail_is_no_confirmation() -> None:
    for content in (b'{"Type": "Notification", "Message": "SubscriptionConfirmation"}', b"SubscriptionConfirmation", b"[1]"):
        assert confirmation_of(content) is None


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nothing is logged."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_the_call(server: str) -> None:
    assert call(f"{server}/") == 200
    assert call(f"{server}/moved") == 302
    with pytest.raises(SubscriptionUnconfirmed):
        # nothing listens on port 1
        call("http://127.0.0.1:1/")
