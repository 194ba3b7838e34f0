"""HTTP/1.1 on the event loop of the app: requests are parsed by llhttp, the parser of Node.js, in the thread that handles them.

A server with threads of its own changes threads six times for a small request with a body, and each change wakes a thread that
waits for Python's lock. Here a request is one read, one task and one write.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol, cast
from urllib.parse import unquote

import httptools

from api.server.held_bytes import ClientDisconnected
from api.server.rsgi import HTTPProtocol, Scope

HEADER_TIMEOUT_SECONDS = 10.0
# a connection that is kept without a request: longer than a provider waits between two bodies
IDLE_TIMEOUT_SECONDS = 75.0
SWEEP_SECONDS = 1.0
# for a client that is still sending what was refused
LINGER_SECONDS = 2.0
# of a head with its trailers; and of what else comes between two pieces of a body, as extensions of a chunk
MAX_HEAD_BYTES = 64 * 1024
# of a body that nobody reads yet: more is left to the kernel, and so to the client
MAX_UNREAD_BYTES = 128 * 1024
_REASONS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
UPGRADE_HEADERS = frozenset({"connection", "upgrade", "http2-settings"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class App(Protocol):
    """What handles a request, with the interface of RSGI."""

    def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> Coroutine[Any, Any, None]: ...


class Connections:
    """All connections of a process, and their time limits, with one timer. Used on one event loop."""

    def __init__(self, app: App, max_connections: int) -> None:
        self.app = app
        self.loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_closing = False
        self._max_connections = max_connections
        self._connections: set[Connection] = set()
        self._timer = self.loop.call_later(SWEEP_SECONDS, self._sweep)
        self._second = 0
        self._date = b""

    def make(self) -> Connection:
        """A new connection."""
        return Connection(self)

    def add(self, connection: Connection) -> bool:
        """Whether there may be one more."""
        self._connections.add(connection)
        return len(self._connections) <= self._max_connections

    def remove(self, connection: Connection) -> None:
        """It is closed."""
        self._connections.discard(connection)

    def date(self) -> bytes:
        """The header."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = f"date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._date

    async def drain(self) -> None:
        """Closes each connection once its requests have their responses."""
        self.is_closing = True
        for connection in tuple(self._connections):
            connection.close_if_idle()
        while self._connections or self.tasks:
            await asyncio.sleep(0.02)
        self._timer.cancel()

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in tuple(self._connections):
            connection.end_if_late(now)
        self._timer = self.loop.call_later(SWEEP_SECONDS, self._sweep)


class Connection(asyncio.Protocol):
    """A connection: its requests are handled one after the other. The parser calls its methods `on_…`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._headers: dict[str, str] = {}
        # since the last piece of a body, or the end of a head
        self._head_bytes = 0
        # of the URL, headers and trailers of a request
        self._fields_bytes = 0
        # of the response to what is no request
        self._refusal = 400
        self._is_in_head = True
        self._deadline = 0.0
        # whose body comes now
        self._incoming: Exchange | None = None
        # whose response is awaited; the first one is being handled
        self._exchanges: deque[Exchange] = deque()
        self._is_reading_paused = False
        self._is_writing_paused = False
        # no more requests are read
        self._is_ending = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # it is one of a stream; uvloop's own are of no class of asyncio
        self._transport = cast("asyncio.Transport", transport)
        self._deadline = self._connections.loop.time() + HEADER_TIMEOUT_SECONDS
        if not self._connections.add(self) or self._connections.is_closing:
            self._refuse(503, retry_after=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._connections.remove(self)
        for exchange in self._exchanges:
            exchange.lose()
        # those that were not begun
        while len(self._exchanges) > 1:
            self._exchanges.pop()

    def data_received(self, data: bytes) -> None:
        if self._is_ending:
            return
        if self._is_in_head and not self._head_bytes:
            self._deadline = self._connections.loop.time() + HEADER_TIMEOUT_SECONDS
        self._head_bytes += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal)
        else:
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431)
            self.update_reading()

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._as_ordinary(data[upgrade.args[0] :])
            else:
                return

    def _as_ordinary(self, rest: bytes) -> bytes:
        """What is to be parsed of a request that offers to change to another protocol: httptools takes it for one without a body.

        Java's client offers HTTP/2 with each first request. A server that does not want to change handles the request as it is.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError("no proxy")
        version = self._parser.get_http_version().encode()
        self._parser = httptools.HttpRequestParser(self)
        headers = {name: value for name, value in self._headers.items() if name not in UPGRADE_HEADERS}
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._url, version, lines.encode()) + rest

    def eof_received(self) -> bool:
        # a client that has sent all it wants to send still reads
        if self._incoming is not None or not self._exchanges:
            return False
        self._end_reading()
        return True

    def pause_writing(self) -> None:
        self._is_writing_paused = True
        self.update_reading()

    def resume_writing(self) -> None:
        self._is_writing_paused = False
        self.update_reading()

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._fields_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_field(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        # with a colon and the end of its line
        self._count_field(len(name) + len(value) + 3)
        # a trailer is no header: whoever checked those before has not seen it
        if self._incoming is not None:
            return
        key = name.decode("latin-1").lower()
        if key == "host" and key in self._headers:
            raise httptools.HttpParserError("several hosts")
        # no header that is read here has other characters
        if value.isascii():
            self._headers[key] = value.decode()

    def _count_field(self, size: int) -> None:
        self._fields_bytes += size
        if self._fields_bytes > MAX_HEAD_BYTES:
            self._refusal = 431
            raise httptools.HttpParserError("too large")

    def on_headers_complete(self) -> None:
        if self._parser.should_upgrade():
            return
        # also a line without a version, which llhttp takes for HTTP/0.9
        if "host" not in self._headers and self._parser.get_http_version() != "1.0":
            raise httptools.HttpParserError("no host")
        if self._headers.get("transfer-encoding", "chunked").lower() != "chunked":
            self._refusal = 501
            raise httptools.HttpParserError("another transfer encoding")
        self._is_in_head = False
        self._head_bytes = 0
        url = httptools.parse_url(self._url)
        method = self._parser.get_method().decode()
        path = unquote((url.path or b"/").decode("latin-1"))
        exchange = Exchange(self, method, path, (url.query or b"").decode("latin-1"), self._headers)
        is_last = not self._parser.should_keep_alive()
        exchange.is_last = is_last
        exchange.expects_continue = self._headers.get("expect", "").lower() == "100-continue"
        self._incoming = exchange
        self._exchanges.append(exchange)
        if len(self._exchanges) == 1:
            self._start(exchange)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        if self._incoming is not None:
            self._incoming.add(body)

    def on_message_complete(self) -> None:
        self._is_in_head = True
        self._head_bytes = 0
        exchange, self._incoming = self._incoming, None
        if exchange is not None:
            exchange.complete()

    def write(self, data: bytes) -> None:
        """Writes to the client, if it is still there."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def respond(self, exchange: Exchange, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Writes a whole response."""
        # a client that waits with its body sends none now, or cannot be told from one that does
        is_last = exchange.is_last or self._connections.is_closing or exchange.expects_continue
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        self.write(
            b"".join(
                (
                    _REASONS[status],
                    lines.encode("latin-1"),
                    self._connections.date(),
                    b"connection: close\r\n\r\n" if is_last else b"\r\n",
                    b"" if exchange.method == "HEAD" else body,
                )
            )
        )
        exchange.is_last = is_last

    def end(self, exchange: Exchange) -> None:
        """A request was handled: the next one is."""
        self._exchanges.popleft()
        self._deadline = self._connections.loop.time() + IDLE_TIMEOUT_SECONDS
        # one without a response, and one whose body was not read to its end
        if exchange.is_malformed and not exchange.has_responded:
            self._refuse(self._refusal)
        elif exchange.is_last or not exchange.is_complete or (self._is_ending and not self._exchanges):
            self._close()
        elif self._exchanges:
            self._start(self._exchanges[0])
        self.update_reading()

    def update_reading(self) -> None:
        """Pauses or resumes reading: a client that sends faster than its requests are handled has to wait."""
        if self._transport is None or self._is_ending:
            return
        should_pause = (
            self._is_writing_paused
            or len(self._exchanges) > 1
            or (self._incoming is not None and self._incoming.unread_bytes > MAX_UNREAD_BYTES)
        )
        if should_pause != self._is_reading_paused:
            self._is_reading_paused = should_pause
            if should_pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def close_if_idle(self) -> None:
        """Closes it if no request is being handled; otherwise the next response is the last one."""
        if not self._exchanges:
            self._close()

    def end_if_late(self, now: float) -> None:
        """Closes it if the next request does not begin, or its head does not end, in time. Bodies have their own limit."""
        if not self._exchanges and now > self._deadline and self._transport is not None:
            if self._transport.is_closing():
                # its client does not read the last response
                self._transport.abort()
            elif self._head_bytes:
                self._refuse(408)
            else:
                self._close()

    def _start(self, exchange: Exchange) -> None:
        task = self._connections.loop.create_task(self._handle(exchange))
        self._connections.tasks.add(task)
        task.add_done_callback(self._connections.tasks.discard)

    async def _handle(self, exchange: Exchange) -> None:
        try:
            await self._connections.app.__rsgi__(exchange, exchange)
        finally:
            if not exchange.has_responded:
                exchange.is_last = True
            self.end(exchange)

    def _refuse(self, status: int, *, retry_after: bool = False) -> None:
        """Responds to what is no request that can be handled, and ends the connection."""
        self._end_reading()
        if self._exchanges:
            if self._incoming is not None:
                self._refusal = status
                self._incoming.is_malformed = True
                self._incoming.lose()
            return
        head = _REASONS[status] + (b"retry-after: 1\r\n" if retry_after else b"")
        self.write(head + b"content-length: 0\r\nconnection: close\r\n\r\n")
        if retry_after or self._transport is None:
            self._close()
        else:
            # what comes meanwhile is dropped: a connection that is closed with unread bytes is reset, and the response is lost
            self._transport.write_eof()
            self._head_bytes = 0
            self._deadline = self._connections.loop.time() + LINGER_SECONDS

    def _end_reading(self) -> None:
        self._is_ending = True
        for exchange in self._exchanges:
            exchange.is_last = exchange is self._exchanges[-1]

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Exchange:
    """A request with its body, and its response: `Scope` and `HTTPProtocol` in one."""

    __slots__ = (
        *("_connection", "_is_lost", "_pieces", "_waiter", "expects_continue", "has_responded", "headers", "is_complete"),
        *("is_last", "is_malformed", "method", "path", "proto", "query_string", "unread_bytes"),
    )

    def __init__(self, connection: Connection, method: str, path: str, query_string: str, headers: Mapping[str, str]) -> None:
        self.proto = "http"
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.is_complete = False
        self.is_last = False
        # its body is not what HTTP says
        self.is_malformed = False
        self.expects_continue = False
        self.has_responded = False
        self.unread_bytes = 0
        self._connection = connection
        self._is_lost = False
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None

    async def __call__(self) -> bytes:
        """The whole body.

        Raises:
            ClientDisconnected: the client hung up.
        """
        while not self.is_complete:
            # one that is larger than what is kept unread would wait for ever
            if self.unread_bytes > MAX_UNREAD_BYTES:
                break
            await self._wait()
        if self.is_complete:
            return self._take()
        return b"".join([piece async for piece in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            if self._pieces:
                yield self._take()
            elif self.is_complete:
                return
            else:
                await self._wait()

    def response_bytes(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Responds."""
        self.has_responded = True
        self._connection.respond(self, status, headers, body)

    def add(self, piece: bytes) -> None:
        """A piece of the body came."""
        self._pieces.append(piece)
        self.unread_bytes += len(piece)
        self._wake()

    def complete(self) -> None:
        """All of the body came."""
        self.is_complete = True
        self._wake()

    def lose(self) -> None:
        """No more of the body will come."""
        self._is_lost = True
        self._wake()

    def _take(self) -> bytes:
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self.unread_bytes = 0
        self._connection.update_reading()
        return body

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        if self._is_lost:
            raise ClientDisconnected
        if self.expects_continue:
            self.expects_continue = False
            self._connection.write(_CONTINUE)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
