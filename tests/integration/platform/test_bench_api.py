"""`mailmart bench api`: that it runs to its end, and that its load client takes no wrong answer for a right one."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from api.errors import MailmartError
from api.settings import Settings
from api.tools.bench.load import Load, measure
from api.tools.bench.pgbench import as_one_message
from tests.support.command import mailmart

ENDPOINTS = (
    "campaign_analytics",
    "compare_campaigns",
    "data_quality",
    "deliverability",
    "engagement_heatmap",
    "workspace_overview",
)


@pytest.mark.timeout(300)
def test_every_endpoint_is_measured_beside_its_controls(home: Path) -> None:
    arguments = ["bench", "api", "--messages", "2000", "--days", "30", "--seconds", "0.1", "--rounds", "1", "--connections", "2"]
    result = mailmart(Settings(None, None, home), *arguments)
    assert result.exit_code == 0, result.output
    for endpoint in ENDPOINTS:
        found = re.findall(rf"^{endpoint}(?: \(.*\))?\n((?:  .*\n)+)", result.output, re.MULTILINE)
        assert len(found) == 2, result.output
        measured, ratios = found
        assert re.search(r"uncached +\d.*\n  bare WSGI +\d.*\n  its SQL in pgbench +\d.*\n  cached +\d", measured), measured
        assert re.search(r"uncached / bare WSGI +\d.*\n  uncached / .*\d\n  cached / static Flask route +\d", ratios), ratios
    assert re.search(r"static Flask route +\d.*\n  static bare WSGI +\d", result.output), result.output
    # nothing of it stays
    assert list(home.iterdir()) == []


class ResponseCache(BaseHTTPRequestHandler):
    """Answers with the status and the headers that its path names."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, headers = self.path.strip("/").split("/")
        self.send_response(int(status))
        if headers == "length":
            self.send_header("Content-Length", "2")
        self.end_headers()
        if headers == "length" and status != "304":
            self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def answering() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), ResponseCache) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def load(port: int, path: str, status: int) -> Load:
    return Load(port, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", status, connections=3, seconds=0.2, warm_up=0.1)


@pytest.mark.parametrize(("path", "status"), [("/200/length", 200), ("/304/length", 304), ("/304/none", 304)])
def test_right_answers_are_measured(path: str, status: int) -> None:
    with answering() as port:
        measured = measure(load(port, path, status))
    assert measured.rate > 0
    assert 0 < measured.p50 <= measured.p99


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/500/length", 200, "an answer is .*500"),
        ("/200/length", 304, "an answer is .*200"),
        ("/200/none", 200, "an answer has no length"),
    ],
)
def test_another_answer_ends_the_measurement(path: str, status: int, said: str) -> None:
    with answering() as port, pytest.raises(MailmartError, match=said):
        measure(load(port, path, status))


def test_a_transaction_is_one_message_whatever_its_literals_hold() -> None:
    transaction = """begin read only; set local a.b = 'it''s; "x'; select "a;b" from c; commit"""
    assert (
        as_one_message(transaction) == r"""begin read only\; set local a.b = 'it''s; "x'\; select "a;b" from c\; commit;""" + "\n"
    )
