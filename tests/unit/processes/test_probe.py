"""Whether a service responds, whatever listens on its port."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from api.processes.probe import responds
from api.settings import Settings


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False),
        (b"", False),
    ],
    ids=["ready", "not ready", "another protocol", "nothing"],
)
def test_a_service_responds_with_2xx(tmp_path: Path, answer: bytes, *, expected: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        settings = Settings(database_url=None, redis_url=None, home=tmp_path, port=server.getsockname()[1])
        assert responds(settings) is expected
        thread.join()
