"""A request over RSGI without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from api.server.rsgi import Headers


@dataclass
class Scope:
    """The head of a request."""

    path: str
    method: str = "POST"
    headers: Headers = field(default_factory=dict)
    proto: str = "http"
    query_string: str = ""


@dataclass
class Exchange:
    """A body that comes in pieces, and the response. A body that is not complete never is."""

    pieces: Sequence[bytes] = (b"",)
    is_complete: bool = True
    status: int = 0
    content: Any = None

    async def __call__(self) -> bytes:
        return b"".join([piece async for piece in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if not self.is_complete:
            await asyncio.sleep(3600)

    def response_bytes(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Keeps the response."""
        self.status = status
        self.content = orjson.loads(body)
