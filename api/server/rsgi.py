"""The interface of RSGI between a server and an app: half the processor time of ASGI for a small request with a body.

Only for responses that are complete and small: see decisions 63 and 97.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol

from api.server.held_bytes import ClientDisconnected
from api.server.unread_bodies import discard


class Headers(Protocol):
    """Names are in lower case. A value that is not ASCII is left out."""

    def items(self) -> Iterable[tuple[str, str]]: ...


class Scope(Protocol):
    """The head of a request. `proto` is http or ws; `path` is decoded."""

    proto: str
    method: str
    path: str
    query_string: str

    @property
    def headers(self) -> Headers: ...


class HTTPProtocol(Protocol):
    """Reads the body of a request, as a whole or piece by piece, and responds. Reading raises ClientDisconnected."""

    async def __call__(self) -> bytes: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def response_bytes(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None: ...


class RequestBody:
    """The body of a request, and the part that was read."""

    def __init__(self, protocol: HTTPProtocol) -> None:
        self._protocol = protocol
        self._pieces = _pieces(protocol)
        self._is_complete = False

    async def read_whole(self) -> bytes:
        """The body at once, however large it is: only for one whose length was announced.

        Raises:
            ClientDisconnected: the client hung up.
        """
        # if it is not read to its end, the server closes the connection
        self._is_complete = True
        return await self._protocol()

    async def read_pieces(self, length: int | None, max_bytes: int, hold: Callable[[int], object]) -> bytes:
        """The body, at most one byte or piece more than the bound. `hold` is called with the size of each piece.

        `length` is the announced one; None for a body of chunks.

        Raises:
            ClientDisconnected: the client hung up.
            WarehouseUnavailable: from `hold`.
        """
        body = bytearray()
        async for piece in self._pieces:
            hold(len(piece))
            body += piece
            if len(body) > max_bytes:
                return bytes(body)
        self._is_complete = True
        if length is not None and len(body) < length:
            raise ClientDisconnected
        return bytes(body)

    async def discard(self) -> None:
        """Reads and drops the rest, after the response."""
        if self._is_complete:
            return
        try:
            await discard(self._pieces)
        except ClientDisconnected:
            return


async def _pieces(protocol: HTTPProtocol) -> AsyncIterator[bytes]:
    """The pieces, for one loop and another."""
    async for piece in protocol:
        yield piece
