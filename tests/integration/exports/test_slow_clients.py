"""Slow clients hold nothing that others need: downloads that are not read, bodies that trickle in, headers without an end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from api.db.connection import connect
from api.exports.download_limits import MAX_PER_LINK
from tests.integration.api.serving import serving
from tests.integration.exports.conftest import Exporter
from tests.integration.exports.test_attempts import files

# more than the buffers of a connection hold
FILE_BYTES = 32 * 1024 * 1024
SLOW_CLIENTS = 20
# far more than an answer takes on a slow machine; a thread that waits for a client waits longer
SECONDS = 60


@pytest.fixture
def large_file(exporter: Exporter) -> str:
    """The link, without its origin, to a file that no buffer holds."""
    export_id = exporter.request()["export_id"]
    exporter.attempt(export_id)
    (file,) = files(exporter, export_id)
    file.write_bytes(b"x" * FILE_BYTES)
    with connect(exporter.settings, "mailmart_owner") as connection:
        connection.execute("update app.exports set file_size_bytes = %s where export_id = %s", (FILE_BYTES, export_id))
    return str(exporter.status(export_id)["download_url"]).removeprefix(exporter.settings.public_url)


@contextmanager
def sent(address: str, text: str) -> Iterator[socket.socket]:
    """A connection on which the text was sent, and nothing is read."""
    parts = urlsplit(address)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(SECONDS)
        client.connect((parts.hostname, parts.port))
        client.sendall(text.encode())
        yield client


def test_slow_clients_hold_nothing_that_others_need(exporter: Exporter, large_file: str, tmp_path: Path) -> None:
    credential = f"Authorization: Bearer {exporter.key}\r\n"
    path = f"/api/v1/workspaces/{exporter.workspace_id}/analytics/overview"
    export = path.replace("overview", "export")
    body = f"POST {export} HTTP/1.1\r\nHost: x\r\n{credential}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    with serving(exporter.settings, tmp_path / "log") as service, ExitStack() as clients:
        for _ in range(MAX_PER_LINK):
            reader = clients.enter_context(sent(service.address, f"GET {large_file} HTTP/1.1\r\nHost: x\r\n\r\n"))
            # the response began: the download is counted
            assert reader.recv(12) == b"HTTP/1.1 200"
        for _ in range(SLOW_CLIENTS):
            clients.enter_context(sent(service.address, body))
            clients.enter_context(sent(service.address, "GET / HTTP/1.1\r\nHost: x\r\n"))
        for _ in range(2):
            assert urlopen(f"{service.address}/healthz", timeout=SECONDS).status == 200
        own = Request(f"{service.address}{path}", headers={"Authorization": f"Bearer {exporter.key}"})
        assert urlopen(own, timeout=SECONDS).status == 200
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{service.address}{large_file}", timeout=SECONDS)
        assert refused.value.code == 429
        assert int(refused.value.headers["Retry-After"]) > 0


def test_requests_with_two_hosts_are_refused(exporter: Exporter, tmp_path: Path) -> None:
    with serving(exporter.settings, tmp_path / "log") as service:
        for hosts, status in (("Host: a\r\n", b"200"), ("Host: a\r\nHost: b\r\n", b"400"), ("Host: a, b\r\n", b"400")):
            with sent(service.address, f"GET /healthz HTTP/1.1\r\n{hosts}\r\n") as client:
                assert client.recv(12).split()[1] == status
        # HTTP/2 over plain TCP
        with sent(service.address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") as client:
            assert not client.recv(100).startswith(b"\x00\x00")
