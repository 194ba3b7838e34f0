"""HTTP/1.1 on the event loop of the app: requests are parsed by llhttp, the parser of Node.js, in the thread that handles them.

A server with threads of its own changes threads six times for a small request with a body, and each change wakes a thread that
waits for Python's lock. Here a request is one read and one write, and one task if it has to wait for something.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Coroutine
from email.utils import formatdate
from typing import Any, NoReturn, cast
from urllib.parse import unquote

import httptools

from api.server.exchange import MAX_UNREAD_BYTES, App, Exchange, Response, status_line

HEADER_TIMEOUT_SECONDS = 10.0
# a connection that is kept without a request: longer than a provider waits between two bodies
IDLE_TIMEOUT_SECONDS = 75.0
SWEEP_SECONDS = 1.0
# connections that are looked at in one turn of the event loop
SWEEP_PART = 200
# for a client that is still sending what was refused
LINGER_SECONDS = 2.0
# of a head with its trailers; and of what else comes between two pieces of a body, as extensions of a chunk
MAX_HEAD_BYTES = 64 * 1024
UPGRADE_HEADERS = frozenset({"connection", "upgrade", "http2-settings"})
# after the method
_TWO_SPACES = re.compile(rb"[A-Z-]{1,32}  ")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# as most clients write them: to look up is faster than to decode
_NAMES = {
    spelled.encode(): name
    for name in (
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "user-agent",
    )
    for spelled in (name, name.title())
}


class Connections:
    """All connections of a process, and their time limits, with one timer. Used on one event loop."""

    def __init__(self, app: App, max_connections: int) -> None:
        self.app = app
        self.loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[None]] = set()
        # requests that are handled, also those whose clients hung up
        self.running = 0
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
        while self._connections or self.running:
            await asyncio.sleep(0.02)
        self._timer.cancel()

    def _sweep(self) -> None:
        self._timer = self.loop.call_later(SWEEP_SECONDS, self._sweep)
        self._sweep_part(list(self._connections))

    def _sweep_part(self, connections: list[Connection]) -> None:
        # to close all idle ones of a flood at once takes a second, in which the queue of new connections can overflow: the kernel
        # then looks at those again after 1, 3, 7 and 15 seconds
        now = self.loop.time()
        for connection in connections[-SWEEP_PART:]:
            connection.end_if_late(now)
        del connections[-SWEEP_PART:]
        if connections:
            self.loop.call_soon(self._sweep_part, connections)


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
        # a part of the next request came
        self._has_begun = False
        self._is_in_head = True
        self._deadline = 0.0
        # whose body comes now
        self._incoming: Exchange | None = None
        # whose response is awaited; the first one is being handled
        self._exchanges: deque[Exchange] = deque()
        self._is_handling = False
        self._is_starting = False
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
            # llhttp takes them for one
            if not self._has_begun and _TWO_SPACES.match(data):
                self._fail(400)
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal)
        else:
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431)
        # now, not when their heads were there: by now, most have their bodies
        self._start_next()
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
            self._fail(400)
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
        self._has_begun = True
        self._url = b""
        self._headers = {}
        self._fields_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._fields_bytes += len(url)
        if self._fields_bytes > MAX_HEAD_BYTES:
            self._fail(431)

    def on_header(self, name: bytes, value: bytes) -> None:
        # with a colon and the end of its line
        self._fields_bytes += len(name) + len(value) + 3
        if self._fields_bytes > MAX_HEAD_BYTES:
            self._fail(431)
        # a trailer is no header: whoever checked those before has not seen it
        if self._incoming is not None:
            return
        key = _NAMES.get(name) or name.decode("latin-1").lower()
        if key == "host" and key in self._headers:
            self._fail(400)
        # no header that is read here has other characters
        if value.isascii():
            self._headers[key] = value.decode()

    def _fail(self, status: int) -> NoReturn:
        """Ends the parser, in one of its calls."""
        self._refusal = status
        raise httptools.HttpParserError

    def on_headers_complete(self) -> None:
        if self._parser.should_upgrade():
            return
        # also a line without a version, which llhttp takes for HTTP/0.9
        if "host" not in self._headers and self._parser.get_http_version() != "1.0":
            self._fail(400)
        if self._headers.get("transfer-encoding", "chunked").lower() != "chunked":
            self._fail(501)
        if self._headers.get("expect", "100-continue").lower() != "100-continue":
            self._fail(417)
        self._is_in_head = False
        self._head_bytes = 0
        path, query = _path_and_query(self._url)
        exchange = self._incoming = Exchange(self, self._parser.get_method().decode(), path, query, self._headers)
        exchange.is_last = not self._parser.should_keep_alive()
        exchange.expects_continue = "expect" in self._headers
        self._exchanges.append(exchange)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        if self._incoming is not None:
            self._incoming.add(body)

    def on_message_complete(self) -> None:
        self._has_begun = False
        self._is_in_head = True
        self._head_bytes = 0
        exchange, self._incoming = self._incoming, None
        if exchange is not None:
            exchange.complete()

    def write(self, data: bytes) -> None:
        """Writes to the client, if it is still there."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def respond(self, exchange: Exchange, response: Response) -> None:
        """Writes a whole response."""
        # a client that waits with its body sends none now, or cannot be told from one that does
        exchange.is_last = exchange.is_last or self._connections.is_closing or exchange.expects_continue
        self.write(
            b"".join(
                (
                    response.head,
                    self._connections.date(),
                    b"connection: close\r\n\r\n" if exchange.is_last else b"\r\n",
                    b"" if exchange.method == "HEAD" else response.body,
                )
            )
        )
        if not exchange.has_task:
            self.end(exchange)

    def body_was_read(self) -> None:
        """Reads on, if it waited for that."""
        if self._is_reading_paused:
            self.update_reading()

    def allow_body(self) -> None:
        """Sends the client that waits with its body the word to go on."""
        self.write(_CONTINUE)

    def end(self, exchange: Exchange) -> None:
        """A request was handled: the next one is."""
        self._exchanges.popleft()
        self._is_handling = False
        self._connections.running -= 1
        self._deadline = self._connections.loop.time() + IDLE_TIMEOUT_SECONDS
        # one without a response, and one whose body was not read to its end
        if exchange.refusal and not exchange.has_responded:
            self._refuse(exchange.refusal)
        elif exchange.is_last or not exchange.is_complete or (self._is_ending and not self._exchanges):
            self._close()
        elif self._exchanges:
            self._start_next()
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

    def _start_next(self) -> None:
        """Starts the first request if it is not being handled, and the next one if it is handled at once, and so on."""
        # one that is handled at once ends in here: as many as came together would be as many levels of calls
        if self._is_starting:
            return
        self._is_starting = True
        try:
            while self._exchanges and not self._is_handling and self._is_open():
                self._is_handling = True
                self._start(self._exchanges[0])
        finally:
            self._is_starting = False

    def _start(self, exchange: Exchange) -> None:
        self._connections.running += 1
        work = self._connections.app.handle(exchange)
        if work is not None:
            exchange.has_task = True
            task = self._connections.loop.create_task(self._run(exchange, work))
            self._connections.tasks.add(task)
            task.add_done_callback(self._connections.tasks.discard)

    def _is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def _run(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            if not exchange.has_responded:
                exchange.is_last = True
            self.end(exchange)

    def _refuse(self, status: int, *, retry_after: bool = False) -> None:
        """Responds to what is no request that can be handled, and ends the connection."""
        self._end_reading()
        if self._exchanges:
            if self._incoming is not None:
                self._incoming.lose(status)
            return
        head = status_line(status) + (b"retry-after: 1\r\n" if retry_after else b"")
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


def _path_and_query(url: bytes) -> tuple[str, str]:
    """The decoded path, and the query."""
    # all that llhttp lets through is ASCII, or one of the bytes above it
    if url.startswith(b"/") and b"#" not in url:
        path, _, query = url.partition(b"?")
    else:
        parsed = httptools.parse_url(url)
        path, query = parsed.path or b"/", parsed.query or b""
    return unquote(path.decode("latin-1")), query.decode("latin-1")
