"""Real SMTP servers that keep what they take."""

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
class Taken:
    """A mail, and how it came."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    was_encrypted: bool
    greeted_as: str | None
    user: bytes | None


@dataclass
class Post:
    """Takes mail, but for the recipients that it refuses with an answer; `on_data` answers a mail in place of taking it."""

    port: int
    taken: list[Taken] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    on_data: str = ""

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd looks up
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.on_data:
            return self.on_data
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.SMTP)
        assert isinstance(message, EmailMessage)
        user = session.auth_data.login if isinstance(session.auth_data, LoginPassword) else None
        self.taken.append(
            Taken(str(envelope.mail_from), envelope.rcpt_tos, message, session.ssl is not None, session.host_name, user)
        )
        return "250 Taken"


def _check(server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    is_right = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode()) == LOGIN
    return AuthResult(success=is_right, handled=False, auth_data=data)


@contextmanager
def post_office(
    host: str = "127.0.0.1", *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Post]:
    """A server on a port of its own; with TLS, it wants the login."""
    port = free_port()
    post = Post(port)
    controller = Controller(
        post,
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
        yield post
    finally:
        controller.stop()
