"""Requests without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from api.server.exchange import App, Exchange, Response


class Client:
    """Sends a request whose body comes in pieces, and keeps the response. A body that is not complete never is."""

    def __init__(
        self,
        path: str,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        pieces: Sequence[bytes] = (b"",),
        *,
        is_complete: bool = True,
    ) -> None:
        self.status = 0
        self.content: Any = None
        self._responded = asyncio.Event()
        self.exchange = Exchange(self, method, path, "", headers or {})
        for piece in pieces:
            self.exchange.add(piece)
        if is_complete:
            self.exchange.complete()

    async def send(self, app: App) -> None:
        """Waits for the response, and until a task has ended, if there is one."""
        work = app.handle(self.exchange)
        if work is None:
            await self._responded.wait()
        else:
            self.exchange.has_task = True
            await work

    def respond(self, exchange: Exchange, response: Response) -> None:
        """Keeps the response."""
        self.status = int(response.head.split()[1])
        self.content = orjson.loads(response.body)
        self._responded.set()

    def body_was_read(self) -> None:
        """Nothing more comes."""

    def allow_body(self) -> None:
        """It does not wait."""
