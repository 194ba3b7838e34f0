"""Mail, through real SMTP servers."""

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
from urllib.parse import quote

import pytest

from api.errors import DeliveryFailed, SettingsError
from api.reports.smtp import Mail, MailServer, message_of, send
from tests.support.certificates import Authority
from tests.support.smtp import LOGIN, Post, post_office

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
# not what counts as this machine, and yet it is
ELSEWHERE = "127.0.0.2"


def server_of(post: Post, host: str = "127.0.0.1", scheme: str = "smtp", login: str = "") -> MailServer:
    return MailServer.of(f"{scheme}://{login}{host}:{post.port}", FROM)


def test_a_mail_arrives_as_it_was_meant() -> None:
    with post_office() as post:
        send(server_of(post), MAIL)
    (taken,) = post.taken
    message = taken.message
    assert (taken.sender, taken.recipients) == ("reports@mart.example", ["ana@example.com"])
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


def test_no_text_of_a_subject_becomes_a_header_and_all_come_back(seed: int) -> None:
    numbers = random.Random(seed)
    letters = ["\r\n", *"\n\r\0\u2028\x85\ud800 aü漢📬\u200d\u05d0:,", "=?utf-8?q?x?="]
    sender = MailServer.of("smtp://localhost", FROM).sender
    for _ in range(150):
        few = numbers.sample(letters, 5)
        subject = f"x {''.join(numbers.choice(few) for _ in range(numbers.randrange(200)))} y\r\nBcc: eve@example.com"
        text = message_of(replace(MAIL, subject=subject), sender).as_bytes()
        read = message_from_bytes(text, policy=policy.SMTP)
        assert sorted(read) == sorted(HEADERS), (seed, subject)
        assert str(read["Subject"]).split() == re.sub("[\0\x85\ud800]", " ", subject).split(), (seed, subject)
        assert max(map(len, text.splitlines())) < 998, (seed, subject)


def test_nothing_is_said_before_starttls(trusted: Authority) -> None:
    with post_office(ELSEWHERE, starttls=trusted.server_context(ELSEWHERE)) as post:
        send(server_of(post, ELSEWHERE, login=f"{USER}:{PASSWORD}@"), MAIL)
    (taken,) = post.taken
    assert taken.was_encrypted
    assert taken.user == LOGIN[0].encode()


def test_tls_from_the_first_byte(trusted: Authority) -> None:
    with post_office(tls=trusted.server_context("127.0.0.1")) as post:
        send(server_of(post, scheme="smtps", login=f"{USER}:{PASSWORD}@"), MAIL)
    assert len(post.taken) == 1


def test_a_server_elsewhere_without_starttls_is_not_spoken_to() -> None:
    with post_office(ELSEWHERE) as post, pytest.raises(DeliveryFailed, match="STARTTLS") as caught:
        send(server_of(post, ELSEWHERE), MAIL)
    assert not caught.value.is_lasting
    assert post.taken == []


def test_a_certificate_counts_only_from_who_is_trusted_and_for_the_name(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with post_office(ELSEWHERE, starttls=authority.server_context(ELSEWHERE)) as post:
        with pytest.raises(DeliveryFailed, match="certificate") as caught:
            send(server_of(post, ELSEWHERE, login=f"{USER}:{PASSWORD}@"), MAIL)
        assert not caught.value.is_lasting
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        send(server_of(post, ELSEWHERE, login=f"{USER}:{PASSWORD}@"), MAIL)
    with (
        post_office(ELSEWHERE, starttls=authority.server_context("mail.example")) as post,
        pytest.raises(DeliveryFailed, match="certificate"),
    ):
        send(server_of(post, ELSEWHERE, login=f"{USER}:{PASSWORD}@"), MAIL)


def test_a_wrong_password_is_tried_again(trusted: Authority) -> None:
    with (
        post_office(ELSEWHERE, starttls=trusted.server_context(ELSEWHERE)) as post,
        pytest.raises(DeliveryFailed, match="login") as caught,
    ):
        send(server_of(post, ELSEWHERE, login=f"{USER}:wrong@"), MAIL)
    assert not caught.value.is_lasting


@pytest.mark.parametrize(("answer", "is_lasting"), [("550 5.1.1 No such user", True), ("451 4.7.1 Greylisted, try again", False)])
def test_a_refused_recipient(answer: str, *, is_lasting: bool) -> None:
    with post_office() as post:
        post.refused[MAIL.recipient] = answer
        with pytest.raises(DeliveryFailed) as caught:
            send(server_of(post), MAIL)
    assert caught.value.is_lasting == is_lasting
    assert answer in caught.value.message


def test_what_is_wrong_with_how_we_speak_is_not_the_recipients() -> None:
    with post_office() as post:
        post.refused[MAIL.recipient] = "504 5.5.2 <box>: Helo command rejected: need fully-qualified hostname"
        with pytest.raises(DeliveryFailed, match=r"server refused the mail: 504 5\.5\.2") as caught:
            send(server_of(post), MAIL)
    assert not caught.value.is_lasting


@pytest.mark.parametrize(("host", "said"), [("box", "mart.example"), ("box.mail.example", "box.mail.example")])
def test_we_say_a_whole_name(host: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    with post_office() as post:
        send(server_of(post), MAIL)
    assert [taken.greeted_as for taken in post.taken] == [said]


@pytest.mark.parametrize(("answer", "is_lasting"), [("554 5.7.1 Spam", True), ("452 4.3.1 Disk full", False)])
def test_a_refused_mail(answer: str, *, is_lasting: bool) -> None:
    with post_office() as post:
        post.on_data = answer
        with pytest.raises(DeliveryFailed) as caught:
            send(server_of(post), MAIL)
    assert caught.value.is_lasting == is_lasting


def test_a_server_that_is_away() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(DeliveryFailed, match="does not answer") as caught:
        send(MailServer.of(f"smtp://127.0.0.1:{port}", FROM), MAIL)
    assert not caught.value.is_lasting


def _says_nothing(connection: socket.socket, over: threading.Event) -> None:
    over.wait(30)


def _drips(connection: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.2):
        connection.sendall(b"2")


def _closes(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"220 hello\r\n")


@contextmanager
def listening(behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                behave(connection, over)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        over.set()
        thread.join()


@pytest.mark.parametrize("behave", [_says_nothing, _drips, _closes])
def test_a_server_that_hangs_is_left_in_time(behave: Callable[[socket.socket, threading.Event], None]) -> None:
    with listening(behave) as port:
        began = time.monotonic()
        with pytest.raises(DeliveryFailed, match="does not answer") as caught:
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
def test_addresses(url: str, expected: tuple[object, ...]) -> None:
    server = MailServer.of(url, "reports@mart.example")
    assert (server.host, server.port, server.user, server.password, server.is_tls, server.needs_starttls) == expected
    assert not server.password or server.password not in repr(server)


@pytest.mark.parametrize("url", ["mail.example", "http://mail.example", "smtp://", "smtp://u:secret@h:x", "smtp://h/path"])
def test_what_is_no_address_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        MailServer.of(url, "reports@mart.example")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("sender", ["", "nobody", "a@", "A <a b@c>", "ä@b.example"])
def test_a_sender_that_is_none_is_refused(sender: str) -> None:
    with pytest.raises(SettingsError):
        MailServer.of("smtp://localhost", sender)
