"""Requests over RSGI, granian's own interface: half the processor time of ASGI for a small request with a body.

Only for responses that are complete and small: see decisions 63 and 97.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

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
    """Reads the body of a request, as a whole or piece by piece, and responds."""

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
        # granian reads it to its end, whatever becomes of this call
        self._is_complete = True
        try:
            return await self._protocol()
        except ProtocolClosed:
            raise ClientDisconnected from None

    async def read_pieces(self, length: int | None, max_bytes: int, hold: Callable[[int], object]) -> bytes:
        """The body, at most one byte or piece more than the bound. `hold` is called with the size of each piece.

        `length` is the announced one; None for a body of chunks.

        Raises:
            ClientDisconnected: the client hung up.
            WarehouseUnavailable: from `hold`.
        """
        body = bytearray()
        empty_pieces = 0
        try:
            async for piece in self._pieces:
                hold(len(piece))
                body += piece
                empty_pieces += not piece
                if len(body) > max_bytes:
                    return bytes(body)
        except ProtocolClosed:
            raise ClientDisconnected from None
        self._is_complete = True
        # granian ends a body with an empty piece, and has one more in the place of an error
        if len(body) < length if length is not None else empty_pieces > 1:
            raise ClientDisconnected
        return bytes(body)

    async def discard(self) -> None:
        """Reads and drops the rest, after the response."""
        if self._is_complete:
            return
        try:
            await discard(self._pieces)
        except ProtocolClosed:
            # the client hung up
            return


async def _pieces(protocol: HTTPProtocol) -> AsyncIterator[bytes]:
    """The pieces, for one loop and another: granian lets them be iterated over once."""
    async for piece in protocol:
        yield piece
