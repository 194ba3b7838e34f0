"""A proxy between an SDK and the service: it records which operations are called, and can refuse and break requests."""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REFUSAL = b'{"success": false, "error": {"code": "RATE_LIMIT_EXCEEDED", "message": "Rate limit exceeded."}}'
FORWARDED_HEADERS = ("Authorization", "Content-Type", "Accept", "Idempotency-Key")
RETURNED_HEADERS = ("Content-Type", "Retry-After", "X-Request-Id")


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    content: bytes


class Recorder:
    """`address` is the base URL for an SDK; `called` has the operationIds that returned data.

    With `has_faults`, the first request of each operation is 429: with `Retry-After: 1` for the very first, 0 for the others.
    A request that creates an export reaches the service and its response is lost, once for each Idempotency-Key that the SDK
    made (a UUID). So does the first one that creates a report.
    At the third request for an export's status, `write_export` is called with its id before.
    """

    def __init__(self, service: str, document: dict[str, Any], public_url: str, write_export: Callable[[str], None]) -> None:
        self.called: set[str] = set()
        self.has_faults = False
        self._service = service
        self._public_url = public_url
        self._write_export = write_export
        self._statuses: Counter[str] = Counter()
        self._refused: set[str] = set()
        self._lost: set[str] = set()
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
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _answer(self, method: str, target: str, headers: dict[str, str], body: bytes | None) -> Response | None:
        """The response of the service or of a fault; None if it is lost."""
        path = target.partition("?")[0]
        names = {name for verb, pattern, name in self._operations if verb == method.lower() and pattern.fullmatch(path)}
        if not self.has_faults:
            return self._forward(method, target, headers, body, names)
        if not names <= self._refused:
            self._refused |= names
            return Response(429, {"Content-Type": "application/json", "Retry-After": str(int(len(self._refused) == 1))}, REFUSAL)
        if "getExport" in names:
            self._statuses[path] += 1
            if self._statuses[path] == 3:
                self._write_export(path.rpartition("/")[2])
        response = self._forward(method, target, headers, body, names)
        key = headers.get("Idempotency-Key", "")
        lost = key if "createExport" in names and len(key) == 36 else "report" if "createReport" in names else None
        if lost is not None and lost not in self._lost:
            self._lost.add(lost)
            return None
        return response

    def _forward(self, method: str, target: str, headers: dict[str, str], body: bytes | None, names: set[str]) -> Response:
        request = urllib.request.Request(f"{self._service}{target}", data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                result = Response(response.status, _returned(response.headers), response.read())
        except urllib.error.HTTPError as error:
            return Response(error.code, _returned(error.headers), error.read())
        self.called |= names
        # download links go through the recorder as well
        return Response(result.status, result.headers, result.content.replace(self._public_url.encode(), self.address.encode()))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                headers = {name: self.headers[name] for name in FORWARDED_HEADERS if name in self.headers}
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else None
                response = recorder._answer(self.command, self.path, headers, body)
                if response is None:
                    self.close_connection = True
                    return
                self.send_response(response.status)
                for name, value in response.headers.items():
                    self.send_header(name, value)
                if response.status != 204:
                    self.send_header("Content-Length", str(len(response.content)))
                self.end_headers()
                self.wfile.write(response.content)

            do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815 - the names that http.server looks up

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is there
                """Logs nothing."""

        return Handler


def _returned(headers: Message) -> dict[str, str]:
    return {name: headers[name] for name in RETURNED_HEADERS if name in headers}
