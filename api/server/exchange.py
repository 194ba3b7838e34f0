"""A request with its body, and its response, between the server (http1.py) and an app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from api.server.held_bytes import ClientDisconnected
from api.server.unread_bodies import discard

# of a body that nobody reads yet: more is left to the kernel, and so to the client
MAX_UNREAD_BYTES = 128 * 1024


class Response(NamedTuple):
    """A response that is complete and small. One that is always the same is made once.

    Attributes:
        head: status line and headers, without those of the connection.
        body: not sent to a HEAD request.
    """

    head: bytes
    body: bytes


def make_response(status: int, headers: Sequence[tuple[str, str]], body: bytes) -> Response:
    """A response with these headers, and the length of the body."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return Response(b"%b%bcontent-length: %d\r\n" % (status_line(status), lines.encode("latin-1"), len(body)), body)


def status_line(status: int) -> bytes:
    """The first line of a response."""
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()


class App(Protocol):
    """What handles requests."""

    def handle(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Handles a request whose head is there.

        Returns what has to wait, to be run as a task. A request whose body is there may need no task: then the result is None,
        and `respond` ends it, now or later. Raises nothing.
        """


class Responder(Protocol):
    """The connection of a request."""

    def respond(self, exchange: Exchange, response: Response) -> None: ...

    def body_was_read(self) -> None: ...

    def allow_body(self) -> None: ...


class Exchange:
    """A request with its body, and its response.

    Attributes:
        path: decoded.
        headers: by name in lower case. A value that is not ASCII is left out.
        is_complete: all of the body came.
        is_last: the connection is closed after the response.
        expects_continue: the client waits with the body.
        has_responded: there was a response.
        has_task: a task handles it; otherwise its response ends it.
        unread_bytes: of the body, what came and nobody read.
        refusal: the status that the server responds with if the app does not, because the body is not what HTTP says; or 0.
    """

    __slots__ = (
        *("_connection", "_is_lost", "_is_read", "_pieces", "_waiter", "expects_continue", "has_responded", "has_task"),
        *("headers", "is_complete", "is_last", "method", "path", "query_string", "refusal", "unread_bytes"),
    )

    def __init__(self, connection: Responder, method: str, path: str, query_string: str, headers: Mapping[str, str]) -> None:
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.is_complete = False
        self.is_last = False
        self.expects_continue = False
        self.has_responded = False
        self.has_task = False
        self.unread_bytes = 0
        self.refusal = 0
        self._connection = connection
        self._is_lost = False
        # up to its end
        self._is_read = False
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None

    def take(self) -> bytes:
        """The body, or the part of it that is there and was not read."""
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._is_read = self.is_complete
        self.unread_bytes = 0
        self._connection.body_was_read()
        return body

    async def read_whole(self) -> bytes:
        """The body at once, however large it is: only for one whose length was announced.

        Raises:
            ClientDisconnected: the client hung up, or `refusal` says that it is malformed.
        """
        # one that is larger than what is kept unread would wait for ever
        while not self.is_complete and self.unread_bytes <= MAX_UNREAD_BYTES:
            await self._wait()
        if self.is_complete:
            return self.take()
        return b"".join([piece async for piece in self._read()])

    async def read_pieces(self, length: int | None, max_bytes: int, hold: Callable[[int], object]) -> bytes:
        """The body, at most one byte or piece more than the bound. `hold` is called with the size of each piece.

        `length` is the announced one; None for a body of chunks.

        Raises:
            ClientDisconnected: see `read_whole`.
            WarehouseUnavailable: from `hold`.
        """
        body = bytearray()
        async for piece in self._read():
            hold(len(piece))
            body += piece
            if len(body) > max_bytes:
                return bytes(body)
        if length is not None and len(body) < length:
            raise ClientDisconnected
        return bytes(body)

    async def discard(self) -> None:
        """Reads and drops the rest of the body, after the response."""
        if self._is_read:
            return
        try:
            await discard(self._read())
        except ClientDisconnected:
            return

    def respond(self, response: Response) -> None:
        """Responds."""
        self.has_responded = True
        self._connection.respond(self, response)

    def add(self, piece: bytes) -> None:
        """A piece of the body came."""
        self._pieces.append(piece)
        self.unread_bytes += len(piece)
        self._wake()

    def complete(self) -> None:
        """All of the body came."""
        self.is_complete = True
        self._wake()

    def lose(self, refusal: int = 0) -> None:
        """The rest of the body will not come; with a status if it is malformed."""
        self._is_lost = True
        self.refusal = refusal
        self._wake()

    async def _read(self) -> AsyncIterator[bytes]:
        while True:
            if self._pieces:
                yield self.take()
            elif self.is_complete:
                self._is_read = True
                return
            else:
                await self._wait()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        if self._is_lost:
            raise ClientDisconnected
        if self.expects_continue:
            self.expects_continue = False
            self._connection.allow_body()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
