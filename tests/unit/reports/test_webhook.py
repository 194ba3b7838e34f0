"""Webhooks, to real https servers, verified by another implementation of the specification."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from api.errors import DeliveryFailed
from api.net.ssrf import may_be_called, networks, parsed
from api.reports.webhook import WebhookUrl, call, new_secret
from tests.support.certificates import Authority
from tests.support.https import Inbox, Told, https_server

NAME = "hooks.example"
HERE = networks(["127.0.0.0/8"])
BODY = json.dumps({"type": "report.completed", "data": {"name": "Übersicht"}}, ensure_ascii=False).encode()


def here(host: str, port: int) -> Sequence[str]:
    assert host == NAME
    return ["127.0.0.1"]


def tell(inbox: Inbox, path: str = "/", key: str = "", **options: Any) -> None:
    given = {"webhook_id": "run_1", "keys": [key or new_secret()], "allowed": HERE, "resolve": here, **options}
    call(f"https://{NAME}:{inbox.port}{path}", BODY, **given)


def test_what_arrives_is_verified_by_another_implementation(trusted: Authority) -> None:
    secret = new_secret()
    with https_server(trusted.server_context(NAME)) as inbox:
        tell(inbox, "/in?tenant=1", secret)
    (told,) = inbox.told
    assert Webhook(secret).verify(told.body, told.headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(told.body, told.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(told.body + b" ", told.headers)
    assert told.path == "/in?tenant=1"
    assert told.headers["Host"] == f"{NAME}:{inbox.port}"
    assert told.headers["webhook-id"] == "run_1"
    assert told.headers["Content-Type"] == "application/json"
    # its name, though the connection went to an address
    assert inbox.names == [NAME]


def test_after_a_rotation_both_secrets_verify(trusted: Authority) -> None:
    old, new = new_secret(), new_secret()
    with https_server(trusted.server_context(NAME)) as inbox:
        tell(inbox, keys=[new, old])
    (told,) = inbox.told
    for secret in (old, new):
        Webhook(secret).verify(told.body, told.headers)


def test_an_address_in_place_of_a_name(trusted: Authority) -> None:
    with https_server(trusted.server_context("127.0.0.1")) as inbox:
        call(f"https://127.0.0.1:{inbox.port}/", BODY, webhook_id="run_1", keys=[new_secret()], allowed=HERE)
    assert len(inbox.told) == 1


def test_a_name_that_the_machine_resolves_itself(trusted: Authority) -> None:
    with https_server(trusted.server_context("localhost")) as inbox:
        allowed = networks(["127.0.0.0/8", "::1"])
        call(f"https://localhost:{inbox.port}/", BODY, webhook_id="run_1", keys=[new_secret()], allowed=allowed)
    assert len(inbox.told) == 1


def test_nothing_goes_to_this_machine_or_its_network(trusted: Authority) -> None:
    with https_server(trusted.server_context(NAME)) as inbox:
        for address in ("127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"):
            with pytest.raises(DeliveryFailed, match="not a public one") as caught:
                tell(inbox, allowed=(), resolve=lambda host, port, address=address: [address])
            assert caught.value.is_lasting
        # every address is looked at, not only the one that it would go to
        with pytest.raises(DeliveryFailed, match="not a public one"):
            tell(inbox, resolve=lambda host, port: ["127.0.0.1", "10.0.0.1"])
        with pytest.raises(DeliveryFailed, match="not a public one"):
            tell(inbox, resolve=lambda host, port: ["127.0.0.1", "fe80::1%eth0"])
        for url in (f"https://127.0.0.1:{inbox.port}/", f"https://[::ffff:7f00:1]:{inbox.port}/"):
            with pytest.raises(DeliveryFailed, match="public address"):
                call(url, BODY, webhook_id="run_1", keys=[new_secret()])
        # what only the resolver takes for an address
        for host in ("2130706433", "0x7f.1", "127.1"):
            with pytest.raises(DeliveryFailed, match=r"not a public one|no address"):
                call(f"https://{host}:{inbox.port}/", BODY, webhook_id="run_1", keys=[new_secret()])
    assert inbox.told == []
    assert inbox.names == []


def test_a_name_is_resolved_once_and_that_answer_is_where_it_goes(trusted: Authority) -> None:
    answers = itertools.chain([["127.0.0.1"]], itertools.repeat(["127.0.0.2"]))
    asked = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return next(answers)

    with https_server(trusted.server_context(NAME)) as inbox:
        # the second answer is nobody's: were the name resolved again, nothing would arrive
        tell(inbox, allowed=networks(["127.0.0.1"]), resolve=rebinding)
        assert len(inbox.told) == 1
        assert asked == [NAME]
        with pytest.raises(DeliveryFailed, match="not a public one"):
            tell(inbox, allowed=networks(["127.0.0.1"]), resolve=rebinding)
    assert len(inbox.told) == 1


def test_the_next_address_is_tried_where_one_is_away(trusted: Authority) -> None:
    with https_server(trusted.server_context(NAME)) as inbox:
        tell(inbox, resolve=lambda host, port: ["127.0.0.9", "127.0.0.1"])
    assert len(inbox.told) == 1


def test_a_certificate_counts_only_from_who_is_trusted_and_for_the_name(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with https_server(authority.server_context(NAME)) as inbox:
        with pytest.raises(DeliveryFailed, match="certificate") as caught:
            tell(inbox)
        assert not caught.value.is_lasting
        assert inbox.told == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        tell(inbox)
    with https_server(authority.server_context("127.0.0.1", "other.example")) as inbox:
        with pytest.raises(DeliveryFailed, match="certificate"):
            tell(inbox)
        assert inbox.told == []


def test_no_redirect_is_followed(trusted: Authority) -> None:
    with https_server(trusted.server_context(NAME)) as inbox:
        inbox.answer = lambda told: (307, {"Location": f"https://{NAME}:{inbox.port}/elsewhere"})
        with pytest.raises(DeliveryFailed, match="redirect"):
            tell(inbox)
    assert [told.path for told in inbox.told] == ["/"]


def test_no_proxy_is_used(trusted: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with https_server(trusted.server_context(NAME)) as inbox:
        tell(inbox)
    assert len(inbox.told) == 1


@pytest.mark.parametrize(
    ("status", "is_gone"), [(400, False), (404, False), (410, True), (429, False), (500, False), (503, False)]
)
def test_an_answer_that_is_no_success_is_a_failure(trusted: Authority, status: int, *, is_gone: bool) -> None:
    def answer(told: Told) -> tuple[int, dict[str, str]]:
        return status, {}

    with https_server(trusted.server_context(NAME)) as inbox:
        inbox.answer = answer
        with pytest.raises(DeliveryFailed, match=str(status)) as caught:
            tell(inbox)
    assert (caught.value.is_gone, caught.value.is_lasting) == (is_gone, is_gone)


def test_a_server_that_is_slow_is_left_in_time(trusted: Authority) -> None:
    def say_nothing(file: Any) -> None:
        inbox.over.wait(30)

    def drip(file: Any) -> None:
        file.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not inbox.over.wait(0.1):
            file.write(b"a")

    def continue_for_ever(file: Any) -> None:
        while not inbox.over.wait(0.1):
            file.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def answer_without_end(file: Any) -> None:
        while True:
            file.write(b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * 60_000 + b"\r\n")

    for misbehave in (say_nothing, drip, continue_for_ever, answer_without_end):
        with https_server(trusted.server_context(NAME)) as inbox:
            inbox.misbehave = misbehave
            began = time.monotonic()
            with pytest.raises(DeliveryFailed, match="no answer"):
                tell(inbox, seconds=1.5)
            assert time.monotonic() - began < 20


def test_a_body_is_not_waited_for(trusted: Authority) -> None:
    def drip_a_body(file: Any) -> None:
        file.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not inbox.over.wait(0.1):
            file.write(b"a")

    with https_server(trusted.server_context(NAME)) as inbox:
        inbox.misbehave = drip_a_body
        began = time.monotonic()
        tell(inbox, seconds=60)
        assert time.monotonic() - began < 30


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x03"])
def test_a_handshake_that_never_ends_is_left_in_time(trusted: Authority, first: bytes) -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(first)
                over.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        began = time.monotonic()
        with pytest.raises(DeliveryFailed, match="does not answer"):
            tell(Inbox(server.getsockname()[1]), seconds=2)
        assert time.monotonic() - began < 20
        over.set()
        thread.join()


@pytest.mark.parametrize("answer", [[], OSError("no such name"), UnicodeError("no name"), None])
def test_a_name_that_does_not_resolve_is_tried_again(answer: Any) -> None:
    over = threading.Event()

    def unresolved(host: str, port: int) -> Sequence[str]:
        if answer is None:
            over.wait(30)
            return ["127.0.0.1"]
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    began = time.monotonic()
    with pytest.raises(DeliveryFailed, match="no address") as caught:
        tell(Inbox(1), resolve=unresolved, seconds=2)
    over.set()
    assert not caught.value.is_lasting
    assert time.monotonic() - began < 20


def test_a_server_that_is_away_is_tried_again() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(DeliveryFailed, match="does not answer") as caught:
        tell(Inbox(port))
    assert not caught.value.is_lasting


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example", ("a.example", 443, "/", "a.example")),
        ("https://A.example:8443/x/y?z=1", ("a.example", 8443, "/x/y?z=1", "a.example:8443")),
        ("https://a.example?q", ("a.example", 443, "/?q", "a.example")),
        ("https://[2606:4700::1111]/", ("2606:4700::1111", 443, "/", "[2606:4700::1111]")),
    ],
)
def test_addresses_of_receivers(url: str, expected: tuple[object, ...]) -> None:
    receiver = WebhookUrl.of(url)
    assert (receiver.host, receiver.port, receiver.target, receiver.header) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://a.example",
        "ftp://a.example",
        "//a.example",
        "https://",
        "https:///x",
        "https://user@a.example",
        "https://user:pw@a.example",
        "https://:@a.example",
        "https://a.example#x",
        "https://a.example:0",
        "https://a.example:99999",
        "https://a.example:x",
        "https://a b.example",
        "https://a.example/\r\nX: y",
        "https://a.example/ü",
        "https://ü.example",
        "https://a.example\\@b.example",
        "https://[::1",
        "https://127.0.0.1",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://[fe80::1%25eth0]/",
        "https://-a.example/",
        "https://a..example/",
        "https://a.example/" + "x" * 2000,
    ],
)
def test_what_is_no_receiver(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(Must|Not) .*\.$"):
        WebhookUrl.of(url)


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",  # noqa: S104
        "0.1.2.3",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_what_is_not_public(text: str) -> None:
    address = ip_address(text)
    assert not may_be_called(address, ())
    assert may_be_called(address, [ip_network(text)])


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111"]
)
def test_what_is_public(text: str) -> None:
    assert may_be_called(ip_address(text), ())


def test_an_allowed_network_covers_its_addresses_in_other_clothes() -> None:
    allowed = networks(["10.1.0.0/16", " 2001:db8::/32", ""])
    assert may_be_called(ip_address("::ffff:10.1.2.3"), allowed)
    assert may_be_called(ip_address("2001:db8::5"), allowed)
    assert not may_be_called(ip_address("10.2.0.1"), allowed)
    assert parsed("10.1.2.3 ") is None
