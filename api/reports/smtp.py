"""E-mail over SMTP."""

from __future__ import annotations

import smtplib
import socket
import ssl
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from email.header import Header
from email.headerregistry import Address
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime, formataddr, parseaddr
from urllib.parse import unquote, urlsplit

from api.errors import DeliveryFailed, SettingsError
from api.net.deadline import ended_after

SECONDS_TO_ANSWER = 10.0
SECONDS_IN_ALL = 60.0
THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
PORTS = {"smtp": 587, "smtps": 465}
HINT = "Write it as smtp://user:password@host:587, or smtps://… (with %40 for an @ in the user or the password)."
MAX_ANSWER = 200
# controls, line and paragraph separators, halves of surrogate pairs
CONTROLS = frozenset({"Cc", "Zl", "Zp", "Cs"})


@dataclass(frozen=True)
class MailServer:
    """Where mail is handed in.

    Attributes:
        host: its name, which its certificate has to have.
        port: 587 by default, 465 for smtps.
        user: '' where it asks for none.
        password: of the user.
        is_tls: TLS from the first byte (smtps).
        needs_starttls: nothing is said before STARTTLS; only a server on this machine may do without.
        sender: the From of all mail, a name and an address.
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
            # the error's own text would show the password
            raise SettingsError("MAILMART_SMTP_URL is no address", hint=HINT) from error
        if parts.scheme not in PORTS or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise SettingsError("MAILMART_SMTP_URL is no address of a mail server", hint=HINT)
        return cls(
            host=host,
            port=port or PORTS[parts.scheme],
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            is_tls=parts.scheme == "smtps",
            needs_starttls=parts.scheme == "smtp" and host not in THIS_MACHINE,
            sender=_sender(sender),
        )


@dataclass(frozen=True)
class Mail:
    """A mail to one address.

    Attributes:
        recipient: the address alone.
        subject: any text; line breaks and other controls become spaces.
        text: the plain form.
        html: the same, as HTML.
        name: what comes before the @ of its Message-ID: the same each time that it is sent.
        date: when it was first meant to be sent.
    """

    recipient: str
    subject: str
    text: str
    html: str
    name: str
    date: datetime


def message_of(mail: Mail, sender: Address) -> MIMEMultipart:
    """The mail as it goes over the wire.

    Made of the older classes of the library: the newer ones lose spaces of a long subject that is not ASCII.
    """
    message = MIMEMultipart("alternative")
    subject = _one_line(mail.subject)
    message["From"] = formataddr((sender.display_name, sender.addr_spec))
    message["To"] = mail.recipient
    # what looks like an encoded word would be read as one
    is_plain = subject.isascii() and "=?" not in subject
    message["Subject"] = subject if is_plain else Header(subject, "utf-8", header_name="Subject").encode()
    message["Date"] = format_datetime(mail.date)
    message["Message-ID"] = f"<{mail.name}@{sender.domain}>"
    # so that holiday replies stay away (RFC 3834)
    message["Auto-Submitted"] = "auto-generated"
    message.attach(MIMEText(mail.text, "plain", "utf-8"))
    message.attach(MIMEText(mail.html, "html", "utf-8"))
    return message


def send(server: MailServer, mail: Mail, *, seconds: float = SECONDS_IN_ALL) -> None:
    """Hands a mail in, within so many seconds; returning, the server has taken it.

    Raises:
        DeliveryFailed: it has not, or did not say so.
    """
    message = message_of(mail, server.sender)
    # asking DNS for the machine's whole name can take longer than the mail, and servers refuse one that is not whole
    host = socket.gethostname()
    name = host if "." in host else server.sender.domain
    timeout = min(SECONDS_TO_ANSWER, seconds)
    smtp = (
        smtplib.SMTP_SSL(local_hostname=name, timeout=timeout, context=ssl.create_default_context())
        if server.is_tls
        else smtplib.SMTP(local_hostname=name, timeout=timeout)
    )
    # what a certificate is checked against: only the constructor sets it, and that one would connect before it is watched
    smtp._host = server.host  # type: ignore[attr-defined]
    try:
        with ended_after(seconds, lambda: smtp.sock):
            _hand_in(smtp, server, message, mail.recipient)
    finally:
        smtp.close()


def _hand_in(smtp: smtplib.SMTP, server: MailServer, message: MIMEMultipart, recipient: str) -> None:
    is_taken = False
    try:
        smtp.connect(server.host, server.port)
        if server.needs_starttls:
            smtp.starttls(context=ssl.create_default_context())
        if server.user:
            smtp.login(server.user, server.password)
        smtp.send_message(message, server.sender.addr_spec, [recipient])
        is_taken = True
        smtp.quit()
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        # the mail is on its way, whatever happened to the goodbye
        if not is_taken:
            raise _failure(error) from error


def _failure(error: Exception) -> DeliveryFailed:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, why = next(iter(error.recipients.values()))
        said = _answer(code, why)
        # how we speak is wrong, whoever the mail is for (many servers say so only here), and ours to mend
        if said.startswith(f"{code} 5.5."):
            return DeliveryFailed(f"The mail server refused the mail: {said}")
        return DeliveryFailed(f"The address was refused: {said}", is_lasting=code >= 500)
    # ours to mend, and it may be mended before the attempts are over
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return DeliveryFailed("The mail server refused the service's login")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return DeliveryFailed("The mail server offers no STARTTLS or no login")
    if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code > 0:
        said = f"The mail server refused the mail: {_answer(error.smtp_code, error.smtp_error)}"
        return DeliveryFailed(said, is_lasting=error.smtp_code >= 500)
    if isinstance(error, ssl.SSLError):
        return DeliveryFailed("The mail server's certificate is not valid")
    if isinstance(error, UnicodeError):
        return DeliveryFailed("The address cannot be written to", is_lasting=True)
    return DeliveryFailed("The mail server does not answer")


def _answer(code: int, said: bytes | str) -> str:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return f"{code} {_one_line(text)}"[:MAX_ANSWER]


def _one_line(text: str) -> str:
    return " ".join("".join(" " if unicodedata.category(letter) in CONTROLS else letter for letter in text).split())


def _sender(text: str) -> Address:
    name, address = parseaddr(text)
    try:
        found = Address(name, addr_spec=address)
    except (ValueError, IndexError) as error:
        raise SettingsError(
            f"MAILMART_MAIL_FROM is {text!r}", hint="Name <reports@example.com>, or the address alone."
        ) from error
    if not found.domain or not address.isascii():
        raise SettingsError(f"MAILMART_MAIL_FROM is {text!r}", hint="Name <reports@example.com>, or the address alone.")
    return found
