"""What is left of a request's body once its response is sent.

A connection that is closed with unread bytes is reset: a client that is still sending fails with "broken pipe", and may never see
why it was refused. So the rest is read and dropped, within bounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from api.server.asgi_types import AsgiApp, Message, Receive, Scope, Send

# a client that sends the largest body that makes sense gets its response; one that sends for ever is cut off
MAX_BYTES = 128 * 1024 * 1024
SECONDS = 5.0
BODY_HEADERS = ("content-length", "transfer-encoding")


class DiscardUnread:
    """The ASGI app with the rest of a body discarded after each response."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not sends_body(name.decode("latin-1") for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        body = _Body(receive)
        await self._app(scope, body.receive, send)
        if not body.is_complete:
            await discard(body.pieces())


def sends_body(names: Iterable[str]) -> bool:
    """Whether a client sends a body at once, by the names of its headers. With `Expect: 100-continue` it waits first."""
    known = set(names)
    return not known.isdisjoint(BODY_HEADERS) and "expect" not in known


async def discard(pieces: AsyncIterator[bytes]) -> None:
    """Reads the rest of a body, as far as it comes in time and is not endless."""
    size = 0
    try:
        async with asyncio.timeout(SECONDS):
            async for piece in pieces:
                size += len(piece)
                if size > MAX_BYTES:
                    return
    except TimeoutError:
        return


class _Body:
    """Knows whether the app has received all of a body."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_complete = False

    async def receive(self) -> Message:
        message = await self._receive()
        # a client that hung up sends nothing more
        self.is_complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def pieces(self) -> AsyncIterator[bytes]:
        while not self.is_complete:
            yield (await self.receive()).get("body", b"")
