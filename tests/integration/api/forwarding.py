"""A TCP forwarder in front of a database, which refuses connections until it is started."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

CHUNK_BYTES = 65_536


class Forwarder:
    """Forwards from a port of 127.0.0.1 to the database of a connection string; `url` leads through it."""

    def __init__(self, url: str) -> None:
        params = conninfo_to_dict(url)
        self._host, self._port = str(params["host"]), int(str(params.get("port") or 5432))
        self._server = _bound(0)
        self.url = make_conninfo(url, host="127.0.0.1", port=self._server.getsockname()[1])

    def start(self) -> None:
        """Accepts connections from now on."""
        self._server.listen()
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def stop(self) -> None:
        """Refuses connections until it is started again. Open ones stay."""
        address = self._server.getsockname()
        # close() alone leaves a thread that accepts one more
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._server = _bound(address[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            database = self._connect()
            threading.Thread(target=_copy, args=(client, database), daemon=True).start()
            threading.Thread(target=_copy, args=(database, client), daemon=True).start()

    def _connect(self) -> socket.socket:
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, self._port))
        database = socket.socket(socket.AF_UNIX)
        database.connect(f"{self._host}/.s.PGSQL.{self._port}")
        return database


def _bound(port: int) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    return server


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(CHUNK_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()
