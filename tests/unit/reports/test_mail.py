"""Mail through SMTP servers."""

from __future__ import annotations

import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.headerregistry import Address
from urllib.parse import quote

import pytest

from api.errors import DeliveryFailed, SettingsError
from api.reports.smtp import Mail, MailServer, build_message, send
from tests.support.certificate_authority import CertificateAuthority
from tests.support.mail_server import LOGIN, MailTestServer, mail_server

MAIL = Mail(
    "ana@example.com",
    "Wöchentlich: Übersicht, 概要 📬",
    "Zeile eins\n.\nتقرير\n",
    "<p>Zeile eins</p>",
    "run_1.0",
    datetime(2025, 11, 26, 2, tzinfo=UTC),
)
FROM = '"Bérichte, GmbH" <reports@mart.example>'
USER, PASSWORD = (quote(text, safe="") for text in LOGIN)
HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
# on this machine, but not in the list of local hosts
REMOTE_HOST = "127.0.0.2"


def server_of(mails: MailTestServer, host: str = "127.0.0.1", scheme: str = "smtp", login: str = "") -> MailServer:
    return MailServer.of(f"{scheme}://{login}{host}:{mails.port}", FROM)


def test_a_mail_arrives_unchanged() -> None:
    with mail_server() as mails:
        send(server_of(mails), MAIL)
    (mail,) = mails.received
    message = mail.message
    assert (mail.sender, mail.recipients) == ("reports@mart.example", ["ana@example.com"])
    assert message["Subject"] == MAIL.subject
    assert message["To"] == "ana@example.com"
    assert message["From"].addresses[0].display_name == "Bérichte, GmbH"
    assert message["Message-ID"] == "<run_1.0@mart.example>"
    assert message["Date"].datetime == MAIL.date
    assert message["Auto-Submitted"] == "auto-generated"
    assert "List-Unsubscribe" not in message
    assert message.get_content_type() == "multipart/alternative"
    plain, html = message.iter_parts()
    assert plain.get_content().replace("\r\n", "\n") == MAIL.text
    assert html.get_content().strip() == MAIL.html


@pytest.mark.slow
def test_any_subject_is_preserved_and_injects_no_header(seed: int) -> None:
    numbers = random.Random(seed)
    characters = ["\r\n", *"\n\r\0\u2028\x85\ud800 aü漢📬\u200d\u05d0:,", "=?utf-8?q?x?="]
    sender = MailServer.of("smtp://localhost", FROM).sender
    for _ in range(150):
        few = numbers.sample(characters, 5)
        subject = f"x {''.join(numbers.choice(few) for _ in range(numbers.randrange(200)))} y\r\nBcc: eve@example.com"
        text = build_message(replace(MAIL, subject=subject), sender).as_bytes()
        read = message_from_bytes(text, policy=policy.SMTP)
        assert sorted(read) == sorted(HEADERS), (seed, subject)
        assert str(read["Subject"]).split() == re.sub("[\0\x85\ud800]", " ", subject).split(), (seed, subject)
        assert max(map(len, text.splitlines())) < 998, (seed, subject)


def test_login_and_mail_are_encrypted_by_starttls(trusted: CertificateAuthority) -> None:
    with mail_server(REMOTE_HOST, starttls=trusted.server_context(REMOTE_HOST)) as mails:
        send(server_of(mails, REMOTE_HOST, login=f"{USER}:{PASSWORD}@"), MAIL)
    (mail,) = mails.received
    assert mail.was_encrypted
    assert mail.user == LOGIN[0].encode()


def test_tls_from_the_first_byte(trusted: CertificateAuthority) -> None:
    with mail_server(tls=trusted.server_context("127.0.0.1")) as mails:
        send(server_of(mails, scheme="smtps", login=f"{USER}:{PASSWORD}@"), MAIL)
    assert len(mails.received) == 1


def test_a_remote_server_without_starttls_is_not_used() -> None:
    with mail_server(REMOTE_HOST) as mails, pytest.raises(DeliveryFailed, match="STARTTLS") as caught:
        send(server_of(mails, REMOTE_HOST), MAIL)
    assert not caught.value.is_lasting
    assert mails.received == []


def test_a_certificate_must_be_trusted_and_match_the_name(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server(REMOTE_HOST, starttls=authority.server_context(REMOTE_HOST)) as mails:
        with pytest.raises(DeliveryFailed, match="certificate") as caught:
            send(server_of(mails, REMOTE_HOST, login=f"{USER}:{PASSWORD}@"), MAIL)
        assert not caught.value.is_lasting
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        send(server_of(mails, REMOTE_HOST, login=f"{USER}:{PASSWORD}@"), MAIL)
    with (
        mail_server(REMOTE_HOST, starttls=authority.server_context("mail.example")) as mails,
        pytest.raises(DeliveryFailed, match="certificate"),
    ):
        send(server_of(mails, REMOTE_HOST, login=f"{USER}:{PASSWORD}@"), MAIL)


def test_a_wrong_password_is_a_temporary_failure(trusted: CertificateAuthority) -> None:
    with (
        mail_server(REMOTE_HOST, starttls=trusted.server_context(REMOTE_HOST)) as mails,
        pytest.raises(DeliveryFailed, match="login") as caught,
    ):
        send(server_of(mails, REMOTE_HOST, login=f"{USER}:wrong@"), MAIL)
    assert not caught.value.is_lasting


@pytest.mark.parametrize(("answer", "is_lasting"), [("550 5.1.1 No such user", True), ("451 4.7.1 Greylisted, try again", False)])
def test_a_rejected_recipient(answer: str, *, is_lasting: bool) -> None:
    with mail_server() as mails:
        mails.rejections[MAIL.recipient] = answer
        with pytest.raises(DeliveryFailed) as caught:
            send(server_of(mails), MAIL)
    assert caught.value.is_lasting == is_lasting
    assert answer in caught.value.message


def test_a_protocol_error_does_not_reject_the_recipient() -> None:
    with mail_server() as mails:
        mails.rejections[MAIL.recipient] = "504 5.5.2 <box>: Helo command rejected: need fully-qualified hostname"
        with pytest.raises(DeliveryFailed, match=r"server rejected the mail: 504 5\.5\.2") as caught:
            send(server_of(mails), MAIL)
    assert not caught.value.is_lasting


@pytest.mark.parametrize(("host", "expected"), [("box", "mart.example"), ("box.mail.example", "box.mail.example")])
def test_the_ehlo_name_has_a_domain(host: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    with mail_server() as mails:
        send(server_of(mails), MAIL)
    assert [mail.greeted_as for mail in mails.received] == [expected]


@pytest.mark.parametrize(("answer", "is_lasting"), [("554 5.7.1 Spam", True), ("452 4.3.1 Disk full", False)])
def test_a_rejected_mail(answer: str, *, is_lasting: bool) -> None:
    with mail_server() as mails:
        mails.data_response = answer
        with pytest.raises(DeliveryFailed) as caught:
            send(server_of(mails), MAIL)
    assert caught.value.is_lasting == is_lasting


def test_an_unreachable_server() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(DeliveryFailed, match="did not respond") as caught:
        send(MailServer.of(f"smtp://127.0.0.1:{port}", FROM), MAIL)
    assert not caught.value.is_lasting


def _send_nothing(connection: socket.socket, is_stopping: threading.Event) -> None:
    is_stopping.wait(30)


def _send_slowly(connection: socket.socket, is_stopping: threading.Event) -> None:
    while not is_stopping.wait(0.2):
        connection.sendall(b"2")


def _close_early(connection: socket.socket, is_stopping: threading.Event) -> None:
    connection.sendall(b"220 hello\r\n")


@contextmanager
def listening(behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    is_stopping = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                behave(connection, is_stopping)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        is_stopping.set()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("behave", [_send_nothing, _send_slowly, _close_early])
def test_a_hanging_server_times_out(behave: Callable[[socket.socket, threading.Event], None]) -> None:
    with listening(behave) as port:
        began = time.monotonic()
        with pytest.raises(DeliveryFailed, match="did not respond") as caught:
            send(MailServer.of(f"smtp://127.0.0.1:{port}", FROM), MAIL, seconds=2)
        assert time.monotonic() - began < 20
    assert not caught.value.is_lasting


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example", ("mail.example", 587, "", "", False, True)),
        ("smtp://a%40b:c%2Fd@mail.example:25", ("mail.example", 25, "a@b", "c/d", False, True)),
        ("smtps://u:pass@mail.example", ("mail.example", 465, "u", "pass", True, False)),
        ("smtp://localhost:1025", ("localhost", 1025, "", "", False, False)),
        ("smtp://[::1]:1025", ("::1", 1025, "", "", False, False)),
    ],
)
def test_mail_server_urls(url: str, expected: tuple[object, ...]) -> None:
    server = MailServer.of(url, "reports@mart.example")
    assert (server.host, server.port, server.user, server.password, server.is_tls, server.needs_starttls) == expected
    assert not server.password or server.password not in repr(server)


@pytest.mark.parametrize("url", ["mail.example", "http://mail.example", "smtp://", "smtp://u:secret@h:x", "smtp://h/path"])
def test_an_invalid_url_is_rejected_without_showing_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        MailServer.of(url, "reports@mart.example")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("sender", ["", "nobody", "a@", "A <a b@c>", "ä@b.example"])
def test_an_invalid_sender_is_rejected(sender: str) -> None:
    with pytest.raises(SettingsError):
        MailServer.of("smtp://localhost", sender)


@pytest.mark.parametrize(("url", "one_click"), [("https://m.example/o?a=1", "List-Unsubscribe=One-Click"), ("http://m/o", None)])
def test_only_https_is_offered_for_one_click(url: str, one_click: str | None) -> None:
    message = build_message(replace(MAIL, opt_out_url=url), Address("", addr_spec="reports@mart.example"))
    assert (message["List-Unsubscribe"], message["List-Unsubscribe-Post"]) == (f"<{url}>", one_click)
    assert build_message(MAIL, Address("", addr_spec="reports@mart.example"))["List-Unsubscribe"] is None
