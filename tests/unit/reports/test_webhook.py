"""Webhooks to https servers, verified by the reference implementation of Standard Webhooks."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from api.errors import DeliveryFailed
from api.net.ssrf import is_allowed, parse_address, parse_networks
from api.reports.webhook import send_webhook
from api.reports.webhook_signature import new_secret
from api.reports.webhook_url import WebhookUrl
from tests.support.certificate_authority import CertificateAuthority
from tests.support.webhook_server import ReceivedRequest, WebhookServer, webhook_server

NAME = "hooks.example"
LOCAL_NETWORKS = parse_networks(["127.0.0.0/8"])
BODY = json.dumps({"type": "report.completed", "data": {"name": "Übersicht"}}, ensure_ascii=False).encode()


def resolve_locally(host: str, port: int) -> Sequence[str]:
    assert host == NAME
    return ["127.0.0.1"]


def post(webhooks: WebhookServer, path: str = "/", key: str = "", **options: Any) -> None:
    params = {
        "webhook_id": "run_1",
        "keys": [key or new_secret()],
        "allowed": LOCAL_NETWORKS,
        "resolve": resolve_locally,
        **options,
    }
    send_webhook(f"https://{NAME}:{webhooks.port}{path}", BODY, **params)


def test_the_reference_implementation_verifies_a_webhook(trusted: CertificateAuthority) -> None:
    secret = new_secret()
    with webhook_server(trusted.server_context(NAME)) as webhooks:
        post(webhooks, "/in?tenant=1", secret)
    (request,) = webhooks.requests
    assert Webhook(secret).verify(request.body, request.headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(request.body + b" ", request.headers)
    assert request.path == "/in?tenant=1"
    assert request.headers["Host"] == f"{NAME}:{webhooks.port}"
    assert request.headers["webhook-id"] == "run_1"
    assert request.headers["Content-Type"] == "application/json"
    # SNI contains the name, although the connection goes to an address
    assert webhooks.names == [NAME]


def test_after_a_rotation_both_secrets_sign(trusted: CertificateAuthority) -> None:
    old, new = new_secret(), new_secret()
    with webhook_server(trusted.server_context(NAME)) as webhooks:
        post(webhooks, keys=[new, old])
    (request,) = webhooks.requests
    for secret in (old, new):
        Webhook(secret).verify(request.body, request.headers)


def test_a_url_with_an_ip_address(trusted: CertificateAuthority) -> None:
    with webhook_server(trusted.server_context("127.0.0.1")) as webhooks:
        send_webhook(f"https://127.0.0.1:{webhooks.port}/", BODY, webhook_id="run_1", keys=[new_secret()], allowed=LOCAL_NETWORKS)
    assert len(webhooks.requests) == 1


def test_a_name_that_the_system_resolves(trusted: CertificateAuthority) -> None:
    with webhook_server(trusted.server_context("localhost")) as webhooks:
        allowed = parse_networks(["127.0.0.0/8", "::1"])
        send_webhook(f"https://localhost:{webhooks.port}/", BODY, webhook_id="run_1", keys=[new_secret()], allowed=allowed)
    assert len(webhooks.requests) == 1


def test_private_addresses_are_rejected(trusted: CertificateAuthority) -> None:
    with webhook_server(trusted.server_context(NAME)) as webhooks:
        for address in ("127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"):
            with pytest.raises(DeliveryFailed, match="cannot be resolved to a public address") as caught:
                post(webhooks, allowed=(), resolve=lambda host, port, address=address: [address])
            # as for a name that does not exist: neither text nor retries disclose which internal names resolve
        assert not caught.value.is_lasting
        # all addresses are checked, not only the first
        with pytest.raises(DeliveryFailed, match="cannot be resolved to a public address"):
            post(webhooks, resolve=lambda host, port: ["127.0.0.1", "10.0.0.1"])
        with pytest.raises(DeliveryFailed, match="cannot be resolved to a public address"):
            post(webhooks, resolve=lambda host, port: ["127.0.0.1", "fe80::1%eth0"])
        for url in (f"https://127.0.0.1:{webhooks.port}/", f"https://[::ffff:7f00:1]:{webhooks.port}/"):
            with pytest.raises(DeliveryFailed, match="public address"):
                send_webhook(url, BODY, webhook_id="run_1", keys=[new_secret()])
        # texts that only the resolver accepts as addresses
        for host in ("2130706433", "0x7f.1", "127.1"):
            with pytest.raises(DeliveryFailed, match="cannot be resolved to a public address"):
                send_webhook(f"https://{host}:{webhooks.port}/", BODY, webhook_id="run_1", keys=[new_secret()])
    assert webhooks.requests == []
    assert webhooks.names == []


def test_a_name_is_resolved_once(trusted: CertificateAuthority) -> None:
    answers = itertools.chain([["127.0.0.1"]], itertools.repeat(["127.0.0.2"]))
    lookups = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        lookups.append(host)
        return next(answers)

    with webhook_server(trusted.server_context(NAME)) as webhooks:
        # a second lookup would return an address without a server
        post(webhooks, allowed=parse_networks(["127.0.0.1"]), resolve=rebinding)
        assert len(webhooks.requests) == 1
        assert lookups == [NAME]
        with pytest.raises(DeliveryFailed, match="cannot be resolved to a public address"):
            post(webhooks, allowed=parse_networks(["127.0.0.1"]), resolve=rebinding)
    assert len(webhooks.requests) == 1


def test_the_next_address_is_used_if_one_is_unreachable(trusted: CertificateAuthority) -> None:
    with webhook_server(trusted.server_context(NAME)) as webhooks:
        post(webhooks, resolve=lambda host, port: ["127.0.0.9", "127.0.0.1"])
    assert len(webhooks.requests) == 1


def test_a_certificate_must_be_trusted_and_match_the_name(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook_server(authority.server_context(NAME)) as webhooks:
        with pytest.raises(DeliveryFailed, match="certificate") as caught:
            post(webhooks)
        assert not caught.value.is_lasting
        assert webhooks.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        post(webhooks)
    with webhook_server(authority.server_context("127.0.0.1", "other.example")) as webhooks:
        with pytest.raises(DeliveryFailed, match="certificate"):
            post(webhooks)
        assert webhooks.requests == []


def test_an_expired_certificate_gets_no_request(trusted: CertificateAuthority) -> None:
    with webhook_server(trusted.server_context(NAME, is_expired=True)) as webhooks:
        with pytest.raises(DeliveryFailed, match="certificate") as caught:
            post(webhooks)
        assert not caught.value.is_lasting
        assert webhooks.requests == []


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_redirects_are_not_followed(trusted: CertificateAuthority, status: int) -> None:
    with webhook_server(trusted.server_context(NAME)) as webhooks, socket.create_server(("127.0.0.1", 0)) as internal:
        internal.settimeout(0.2)
        locations = [f"https://{NAME}:{webhooks.port}/elsewhere", f"http://127.0.0.1:{internal.getsockname()[1]}/", "/elsewhere"]
        for location in locations:
            headers = {"Location": location}
            webhooks.answer = lambda request, headers=headers: (status, headers)  # type: ignore[misc]
            with pytest.raises(DeliveryFailed, match="redirect") as caught:
                post(webhooks)
            assert not caught.value.is_lasting
        with pytest.raises(TimeoutError):
            internal.accept()
    assert [request.path for request in webhooks.requests] == ["/"] * len(locations)


def test_proxies_are_not_used(trusted: CertificateAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with webhook_server(trusted.server_context(NAME)) as webhooks:
        post(webhooks)
    assert len(webhooks.requests) == 1


@pytest.mark.parametrize(
    ("status", "is_gone"), [(400, False), (404, False), (410, True), (429, False), (500, False), (503, False)]
)
def test_a_status_other_than_2xx_is_a_failure(trusted: CertificateAuthority, status: int, *, is_gone: bool) -> None:
    def answer(request: ReceivedRequest) -> tuple[int, dict[str, str]]:
        return status, {}

    with webhook_server(trusted.server_context(NAME)) as webhooks:
        webhooks.answer = answer
        with pytest.raises(DeliveryFailed, match=str(status)) as caught:
            post(webhooks)
    assert (caught.value.is_gone, caught.value.is_lasting) == (is_gone, is_gone)


@pytest.mark.slow
def test_a_slow_response_times_out(trusted: CertificateAuthority) -> None:
    def say_nothing(file: Any) -> None:
        webhooks.is_stopping.wait(30)

    def drip(file: Any) -> None:
        file.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not webhooks.is_stopping.wait(0.1):
            file.write(b"a")

    def continue_for_ever(file: Any) -> None:
        while not webhooks.is_stopping.wait(0.1):
            file.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def answer_without_end(file: Any) -> None:
        while True:
            file.write(b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * 60_000 + b"\r\n")

    def flood_with_continues(file: Any) -> None:
        while True:
            file.write(b"HTTP/1.1 100 Continue\r\nX-Long: " + b"a" * 60_000 + b"\r\n\r\n")

    def send_short_headers_without_end(file: Any) -> None:
        file.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            file.write(b"X: y\r\n" * 100)

    before = _open_files()
    for misbehave in (
        *(say_nothing, drip, continue_for_ever, answer_without_end),
        *(flood_with_continues, send_short_headers_without_end),
    ):
        with webhook_server(trusted.server_context(NAME)) as webhooks:
            webhooks.misbehave = misbehave
            began = time.monotonic()
            with pytest.raises(DeliveryFailed, match="did not respond"):
                post(webhooks, seconds=1.5)
            assert time.monotonic() - began < 20
    assert _open_files() == before
    assert not [thread for thread in threading.enumerate() if thread.name == "deadline"]


@pytest.mark.parametrize(
    "part", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nX-Half", b"HTTP/1.1 200 OK\r\nX-Whole: 1\r\n"]
)
def test_a_response_that_breaks_off_in_its_headers_is_a_failure(trusted: CertificateAuthority, part: bytes) -> None:
    with webhook_server(trusted.server_context(NAME)) as webhooks:
        webhooks.misbehave = lambda file: file.write(part)
        with pytest.raises(DeliveryFailed, match="did not respond"):
            post(webhooks)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0


def test_the_body_of_a_response_is_not_read(trusted: CertificateAuthority) -> None:
    def drip_a_body(file: Any) -> None:
        file.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not webhooks.is_stopping.wait(0.1):
            file.write(b"a")

    with webhook_server(trusted.server_context(NAME)) as webhooks:
        webhooks.misbehave = drip_a_body
        began = time.monotonic()
        post(webhooks, seconds=60)
        assert time.monotonic() - began < 30


# of the second one, the rest comes a byte at a time
@pytest.mark.parametrize("first", [b"", b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03"], ids=["silent", "drips"])
def test_a_handshake_without_end_times_out(trusted: CertificateAuthority, first: bytes) -> None:
    is_stopping = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(first)
                with suppress(OSError):
                    while not is_stopping.wait(0.1):
                        connection.sendall(first[:1])

        thread = threading.Thread(target=serve)
        thread.start()
        began = time.monotonic()
        with pytest.raises(DeliveryFailed, match="cannot be reached"):
            post(WebhookServer(server.getsockname()[1]), seconds=2)
        assert time.monotonic() - began < 20
        is_stopping.set()
        thread.join()


@pytest.mark.parametrize("answer", [[], OSError("no such name"), UnicodeError("no name"), None])
def test_an_unresolvable_name_is_a_temporary_failure(answer: Any) -> None:
    is_stopping = threading.Event()

    def resolve(host: str, port: int) -> Sequence[str]:
        if answer is None:
            is_stopping.wait(30)
            return ["127.0.0.1"]
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    began = time.monotonic()
    with pytest.raises(DeliveryFailed, match="cannot be resolved") as caught:
        post(WebhookServer(1), resolve=resolve, seconds=2)
    is_stopping.set()
    assert not caught.value.is_lasting
    assert time.monotonic() - began < 20


def test_an_unreachable_server_is_a_temporary_failure() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(DeliveryFailed, match="cannot be reached") as caught:
        post(WebhookServer(port))
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
def test_webhook_urls(url: str, expected: tuple[object, ...]) -> None:
    receiver = WebhookUrl.parse(url)
    assert (receiver.host, receiver.port, receiver.target, receiver.host_header) == expected


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
def test_invalid_webhook_urls(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(Must|Not) .*\.$"):
        WebhookUrl.parse(url)


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
def test_private_addresses(text: str) -> None:
    address = ip_address(text)
    assert not is_allowed(address, ())
    assert is_allowed(address, [ip_network(text)])


@pytest.mark.parametrize(
    "text", ["1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111"]
)
def test_public_addresses(text: str) -> None:
    assert is_allowed(ip_address(text), ())


def test_an_allowed_network_contains_embedded_ipv4_addresses() -> None:
    allowed = parse_networks(["10.1.0.0/16", " 2001:db8::/32", ""])
    assert is_allowed(ip_address("::ffff:10.1.2.3"), allowed)
    assert is_allowed(ip_address("2001:db8::5"), allowed)
    assert not is_allowed(ip_address("10.2.0.1"), allowed)
    assert parse_address("10.1.2.3 ") is None
