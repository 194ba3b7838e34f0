"""The load generator of `bench api` measures only responses that are complete and as expected."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from api.errors import MailmartError
from api.tools.bench.load import Load, measure

pytestmark = pytest.mark.slow


class Handler(BaseHTTPRequestHandler):
    """Responds with the status and the headers that its path names."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, headers = self.path.strip("/").split("/")
        self.send_response(int(status))
        if headers == "length":
            self.send_header("Content-Length", "2")
        self.end_headers()
        if headers == "length" and status != "304":
            self.wfile.write(b"{}")

    def do_POST(self) -> None:
        """Responds in pieces, once the body is there."""
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        for piece in (b"HTTP/1.1 200 OK\r\nContent-Len", b"gth: %d\r\n\r\n{" % len(f"{{{size}}}"), b"%d}" % size):
            self.wfile.write(piece)
            time.sleep(0.002)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@contextmanager
def http_server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def load(port: int, path: str, status: int) -> Load:
    return Load(port, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", status, connections=3, seconds=0.2, warm_up=0.1)


@pytest.mark.parametrize(("path", "status"), [("/200/length", 200), ("/304/length", 304), ("/304/none", 304)])
def test_expected_responses_are_measured(path: str, status: int) -> None:
    with http_server() as port:
        measured = measure(load(port, path, status))
    assert measured.rate > 0
    assert 0 < measured.p50 <= measured.p99


def test_requests_and_responses_can_come_in_pieces() -> None:
    """A request that the kernel's buffers do not hold."""
    body = "x" * 16_000_000
    request = f"POST /200/length HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with http_server() as port:
        measured = measure(Load(port, request, 200, connections=2, seconds=0.2, warm_up=0.0))
    assert measured.rate > 0


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/500/length", 200, "unexpected response: .*500"),
        ("/200/length", 304, "unexpected response: .*200"),
        ("/200/none", 200, "has no Content-Length"),
    ],
)
def test_an_unexpected_response_ends_the_measurement(path: str, status: int, message: str) -> None:
    with http_server() as port, pytest.raises(MailmartError, match=message):
        measure(load(port, path, status))
