"""The download of a certificate, from a real HTTP server: what it does not follow, read to the end or take for an answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from api.errors import CertificateUnavailable, SignatureError
from api.intake.signatures import sns_certificates
from api.intake.signatures.sns_certificates import MAX_CERTIFICATE_BYTES, download

ANSWERS = {
    "/certificate.pem": (200, b"a certificate"),
    "/large.pem": (200, b"x" * (MAX_CERTIFICATE_BYTES + 1)),
    "/moved.pem": (302, b""),
    "/missing.pem": (404, b"<Error/>"),
    "/forbidden.pem": (403, b"<Error/>"),
    "/broken.pem": (500, b""),
    "/busy.pem": (429, b""),
}


# a response of which each byte comes before a timeout of the socket, and the last one after the deadline
SLOW = {"/slow-head.pem": b"HTTP/1.1 200 OK\r\nX-Slow: ", "/slow-body.pem": b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path in SLOW:
            self._trickle(SLOW[self.path])
            return
        status, content = ANSWERS[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if status == 302:
            self.send_header("Location", "/certificate.pem")
        self.end_headers()
        self.wfile.write(content)

    def _trickle(self, start: bytes) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.write(start)
            # ends by itself if the client waits for ever
            for _ in range(400):
                self.wfile.write(b"x")
                time.sleep(0.05)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Nothing is logged."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_the_bytes_of_a_certificate(server: str) -> None:
    assert download(f"{server}/certificate.pem") == b"a certificate"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("large", SignatureError),
        ("missing", SignatureError),
        ("forbidden", SignatureError),
        ("moved", CertificateUnavailable),
        ("broken", CertificateUnavailable),
        ("busy", CertificateUnavailable),
    ],
)
def test_no_certificate(server: str, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        download(f"{server}/{path}.pem")


@pytest.mark.parametrize("path", SLOW)
def test_a_response_that_trickles_in(server: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sns_certificates, "DOWNLOAD_SECONDS", 0.3)
    with pytest.raises(CertificateUnavailable, match=r"took more than 0\.3 s"):
        download(f"{server}{path}")


def test_a_server_that_is_unavailable(server: str) -> None:
    with pytest.raises(CertificateUnavailable):
        # nothing listens on port 1
        download("http://127.0.0.1:1/certificate.pem")
