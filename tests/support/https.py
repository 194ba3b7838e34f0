"""Real https servers that keep what they are told."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Told:
    """A request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Inbox:
    """What has come. `answer` makes a status and headers of a request; with `misbehave`, that has the connection to itself."""

    port: int = 0
    told: list[Told] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    answer: Callable[[Told], tuple[int, dict[str, str]]] = lambda told: (204, {})
    misbehave: Callable[[Any], None] | None = None
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def https_server(context: ssl.SSLContext, host: str = "127.0.0.1") -> Iterator[Inbox]:
    """A server on a port of its own."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_POST(self) -> None:
            told = Told(self.path, dict(self.headers.items()), self.rfile.read(int(self.headers["Content-Length"])))
            inbox.told.append(told)
            if inbox.misbehave:
                with suppress(OSError):
                    inbox.misbehave(self.wfile)
                return
            status, headers = inbox.answer(told)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is there
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def finish_request(self, request: Any, client_address: Any) -> None:
            # the handshake in the connection's own thread, so that one that never ends keeps nobody waiting
            request.settimeout(30)
            with suppress(OSError):
                super().finish_request(context.wrap_socket(request, server_side=True), client_address)

    def note(socket: ssl.SSLObject, name: str | None, of: ssl.SSLContext) -> None:
        inbox.names.append(name)

    context.sni_callback = note
    server = Server((host, 0), Handler)
    inbox.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield inbox
    finally:
        inbox.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
