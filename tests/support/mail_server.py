"""SMTP servers that store the mail they receive."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from tests.support.ports import free_port

LOGIN = ("reports", "p@ss:word/%")


@dataclass
class ReceivedMail:
    """A mail, and facts about its connection."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    was_encrypted: bool
    greeted_as: str | None
    user: bytes | None


@dataclass
class MailTestServer:
    """The state of a test server.

    Attributes:
        port: its port.
        received: the accepted mails.
        rejections: recipient → the response that rejects it.
        data_response: the response that rejects a mail; empty to accept it.
    """

    port: int
    received: list[ReceivedMail] = field(default_factory=list)
    rejections: dict[str, str] = field(default_factory=dict)
    data_response: str = ""

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd calls
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.rejections:
            return self.rejections[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.data_response:
            return self.data_response
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.SMTP)
        assert isinstance(message, EmailMessage)
        user = session.auth_data.login if isinstance(session.auth_data, LoginPassword) else None
        self.received.append(
            ReceivedMail(str(envelope.mail_from), envelope.rcpt_tos, message, session.ssl is not None, session.host_name, user)
        )
        return "250 Accepted"


def _check(server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    is_valid = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode()) == LOGIN
    return AuthResult(success=is_valid, handled=False, auth_data=data)


@contextmanager
def mail_server(
    host: str = "127.0.0.1", *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[MailTestServer]:
    """A server on a free port; with TLS, it requires a login."""
    port = free_port()
    mails = MailTestServer(port)
    controller = Controller(
        mails,
        hostname=host,
        port=port,
        ssl_context=tls,
        tls_context=starttls,
        require_starttls=starttls is not None,
        authenticator=_check,
        auth_required=bool(starttls or tls),
        auth_require_tls=bool(starttls),
    )
    controller.start()
    try:
        yield mails
    finally:
        controller.stop()
