"""A proxy between an SDK and the service that records which operations of the document are called."""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FORWARDED_HEADERS = ("Authorization", "Content-Type", "Accept", "Idempotency-Key")


class Recorder:
    """`address` is the base URL for an SDK; `called` has the operationIds that returned data."""

    def __init__(self, service: str, document: dict[str, Any]) -> None:
        self.called: set[str] = set()
        self._service = service
        self._operations = [
            (method, re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operation["operationId"])
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if method != "parameters"
        ]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def operations(self) -> set[str]:
        """All operationIds of the document."""
        return {name for _, _, name in self._operations}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Forwards requests while the block runs."""
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _forward(self, method: str, target: str, headers: dict[str, str], body: bytes | None) -> tuple[int, str, bytes]:
        request = urllib.request.Request(f"{self._service}{target}", data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                result = response.status, response.headers["Content-Type"] or "", response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers["Content-Type"], error.read()
        path = target.partition("?")[0]
        self.called |= {name for verb, pattern, name in self._operations if verb == method.lower() and pattern.fullmatch(path)}
        return result

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                headers = {name: self.headers[name] for name in FORWARDED_HEADERS if name in self.headers}
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else None
                status, kind, content = recorder._forward(self.command, self.path, headers, body)
                self.send_response(status)
                if kind:
                    self.send_header("Content-Type", kind)
                if status != 204:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815 - the names that http.server looks up

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is there
                """Logs nothing."""

        return Handler
