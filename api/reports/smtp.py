"""Sends e-mail over SMTP. Called by delivery.py, which decides what is sent; the texts are in templates.py."""

from __future__ import annotations

import smtplib
import socket
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from email.header import Header
from email.headerregistry import Address
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from email.utils import format_datetime, formataddr, parseaddr
from urllib.parse import unquote, urlsplit

from api.errors import DeliveryFailed, SettingsError
from api.net.deadline import shut_down_after
from api.reports.one_line import one_line

RESPONSE_TIMEOUT_SECONDS = 10.0
TIMEOUT_SECONDS = 60.0
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
DEFAULT_PORTS = {"smtp": 587, "smtps": 465}
URL_HINT = "Write it as smtp://user:password@host:587, or smtps://… (with %40 for an @ in the user or the password)."
SENDER_HINT = "Use Name <reports@example.com>, or an address without a name."
MAX_RESPONSE_LENGTH = 200
# of RFC 5322
MAX_LINE_LENGTH = 998


@dataclass(frozen=True)
class MailServer:
    """The mail server that sends the mail.

    Attributes:
        host: its name, for which its certificate must be valid.
        port: 587 by default, 465 for smtps.
        user: empty if the server needs no login.
        password: of the user.
        is_tls: TLS from the first byte (smtps).
        needs_starttls: the connection must switch to TLS first; only a server on this machine may do without.
        sender: the From header of all mail: a name and an address.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    is_tls: bool
    needs_starttls: bool
    sender: Address

    @classmethod
    def of(cls, url: str, sender: str) -> MailServer:
        """Reads MAILMART_SMTP_URL and MAILMART_MAIL_FROM.

        Raises:
            SettingsError: one of them cannot be used.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            # the message of the ValueError could contain the password
            raise SettingsError("MAILMART_SMTP_URL is not a valid URL", hint=URL_HINT) from error
        if parts.scheme not in DEFAULT_PORTS or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise SettingsError("MAILMART_SMTP_URL is not the URL of a mail server", hint=URL_HINT)
        return cls(
            host=host,
            port=port or DEFAULT_PORTS[parts.scheme],
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            is_tls=parts.scheme == "smtps",
            needs_starttls=parts.scheme == "smtp" and host not in LOCAL_HOSTS,
            sender=_parse_sender(sender),
        )


@dataclass(frozen=True)
class InlineImage:
    """A PNG that the HTML of a mail shows by `cid:` and its id."""

    content_id: str
    file_name: str
    png: bytes


@dataclass(frozen=True)
class Mail:
    """A mail to one address.

    Attributes:
        recipient: an address without a name.
        subject: any text; line breaks and other control characters become spaces.
        text: the plain text.
        html: the same as HTML.
        message_id: the part of the Message-ID before the @; the same at each attempt.
        date: the Date header; the same at each attempt.
        opt_out_url: a POST to it opts the recipient out; empty: the mail has no such header.
        images: those that the HTML shows.
    """

    recipient: str
    subject: str
    text: str
    html: str
    message_id: str
    date: datetime
    opt_out_url: str = ""
    images: tuple[InlineImage, ...] = ()


def build_message(mail: Mail, sender: Address) -> MIMEMultipart:
    """The MIME message.

    It uses the older classes of `email`: EmailMessage loses spaces of a long subject that is not ASCII.
    """
    message = MIMEMultipart("alternative")
    subject = one_line(mail.subject)
    message["From"] = formataddr((sender.display_name, sender.addr_spec))
    message["To"] = mail.recipient
    # a subject that looks like an encoded word must be encoded, or mail clients decode it
    is_plain = subject.isascii() and "=?" not in subject
    message["Subject"] = subject if is_plain else Header(subject, "utf-8", header_name="Subject").encode()
    message["Date"] = format_datetime(mail.date)
    message["Message-ID"] = f"<{mail.message_id}@{sender.domain}>"
    # prevents out-of-office replies (RFC 3834)
    message["Auto-Submitted"] = "auto-generated"
    if mail.opt_out_url:
        # on one line: a URL cannot be folded, and the line before it would be empty
        message.policy = compat32.clone(max_line_length=MAX_LINE_LENGTH)
        message["List-Unsubscribe"] = f"<{mail.opt_out_url}>"
        # RFC 8058 allows one click for https only
        if mail.opt_out_url.startswith("https://"):
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.attach(MIMEText(mail.text, "plain", "utf-8"))
    html = MIMEText(mail.html, "html", "utf-8")
    if not mail.images:
        message.attach(html)
        return message
    # the images belong to the HTML alone (RFC 2387): programs that show the text do not list them as attachments
    related = MIMEMultipart("related", type="text/html")
    related.attach(html)
    for image in mail.images:
        part = MIMEImage(image.png, "png")
        part["Content-ID"] = f"<{image.content_id}>"
        part["Content-Disposition"] = f'inline; filename="{image.file_name}"'
        related.attach(part)
    message.attach(related)
    return message


def send(server: MailServer, mail: Mail, *, seconds: float = TIMEOUT_SECONDS) -> None:
    """Sends a mail within some seconds. It returns if the server has accepted the mail.

    Raises:
        DeliveryFailed: the server did not accept it, or did not confirm it in time.
    """
    message = build_message(mail, server.sender)
    # looking up this machine's full name in DNS can take longer than the mail, and servers reject a name without a domain
    host = socket.gethostname()
    name = host if "." in host else server.sender.domain
    timeout = min(RESPONSE_TIMEOUT_SECONDS, seconds)
    smtp = (
        smtplib.SMTP_SSL(local_hostname=name, timeout=timeout, context=ssl.create_default_context())
        if server.is_tls
        else smtplib.SMTP(local_hostname=name, timeout=timeout)
    )
    # the name for the certificate check: only the constructor sets it, and there it would connect before the deadline starts
    smtp._host = server.host  # type: ignore[attr-defined]
    try:
        with shut_down_after(seconds, lambda: smtp.sock):
            _deliver(smtp, server, message, mail.recipient)
    finally:
        smtp.close()


def _deliver(smtp: smtplib.SMTP, server: MailServer, message: MIMEMultipart, recipient: str) -> None:
    is_accepted = False
    try:
        smtp.connect(server.host, server.port)
        if server.needs_starttls:
            smtp.starttls(context=ssl.create_default_context())
        if server.user:
            smtp.login(server.user, server.password)
        smtp.send_message(message, server.sender.addr_spec, [recipient])
        is_accepted = True
        smtp.quit()
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        # an error of QUIT does not matter, the mail is accepted
        if not is_accepted:
            raise _failure(error) from error


def _failure(error: Exception) -> DeliveryFailed:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()))
        response = _response_text(code, text)
        # a protocol error, unrelated to the recipient (many servers report it only here): the operator can fix it
        if response.startswith(f"{code} 5.5."):
            return DeliveryFailed(f"The mail server rejected the mail: {response}")
        return DeliveryFailed(f"The address was rejected: {response}", is_lasting=code >= 500)
    # configuration errors: the operator can fix them before the last attempt
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return DeliveryFailed("The mail server rejected the login of this service")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return DeliveryFailed("The mail server does not support STARTTLS or login")
    if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code > 0:
        message = f"The mail server rejected the mail: {_response_text(error.smtp_code, error.smtp_error)}"
        return DeliveryFailed(message, is_lasting=error.smtp_code >= 500)
    if isinstance(error, ssl.SSLError):
        return DeliveryFailed("The mail server's certificate is not valid")
    if isinstance(error, UnicodeError):
        return DeliveryFailed("The address is invalid", is_lasting=True)
    return DeliveryFailed("The mail server did not respond")


def _response_text(code: int, response: bytes | str) -> str:
    text = response.decode(errors="replace") if isinstance(response, bytes) else response
    return f"{code} {one_line(text)}"[:MAX_RESPONSE_LENGTH]


def _parse_sender(text: str) -> Address:
    name, address = parseaddr(text)
    try:
        sender = Address(name, addr_spec=address)
    except (ValueError, IndexError) as error:
        raise SettingsError(f"MAILMART_MAIL_FROM is {text!r}", hint=SENDER_HINT) from error
    if not sender.domain or not address.isascii():
        raise SettingsError(f"MAILMART_MAIL_FROM is {text!r}", hint=SENDER_HINT)
    return sender
