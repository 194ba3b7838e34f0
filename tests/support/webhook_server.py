"""https servers that store the requests they receive."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ReceivedRequest:
    """A request to a test server."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WebhookServer:
    """The state of a test server.

    Attributes:
        port: its port.
        requests: those received so far.
        names: the server names (SNI) of the connections.
        answer: returns the status and headers for a request.
        misbehave: takes over the connection's output instead of `answer`.
        is_stopping: set when the test ends.
    """

    port: int = 0
    requests: list[ReceivedRequest] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    answer: Callable[[ReceivedRequest], tuple[int, dict[str, str]]] = lambda request: (204, {})
    misbehave: Callable[[Any], None] | None = None
    is_stopping: threading.Event = field(default_factory=threading.Event)


@contextmanager
def webhook_server(context: ssl.SSLContext, host: str = "127.0.0.1") -> Iterator[WebhookServer]:
    """A server on a free port."""
    webhooks = WebhookServer()

    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_POST(self) -> None:
            received = ReceivedRequest(
                self.path, dict(self.headers.items()), self.rfile.read(int(self.headers["Content-Length"]))
            )
            webhooks.requests.append(received)
            if webhooks.misbehave:
                with suppress(OSError):
                    webhooks.misbehave(self.wfile)
                return
            status, headers = webhooks.answer(received)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
            """Logs nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def finish_request(self, request: Any, client_address: Any) -> None:
            # the handshake runs in the connection's thread, so that a hanging one does not block other connections
            request.settimeout(30)
            with suppress(OSError):
                super().finish_request(context.wrap_socket(request, server_side=True), client_address)

    def record_name(socket: ssl.SSLObject, name: str | None, of: ssl.SSLContext) -> None:
        webhooks.names.append(name)

    context.sni_callback = record_name
    server = Server((host, 0), Handler)
    webhooks.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield webhooks
    finally:
        webhooks.is_stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()
