"""The rest of a body is read and dropped after the response: as far as it comes, and never without end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from api.server import unread_bodies
from api.server.unread_bodies import DiscardUnread

LENGTH = (b"content-length", b"9")
CHUNKED = (b"transfer-encoding", b"chunked")


class Client:
    """Sends the pieces of a body, then is silent or hangs up."""

    def __init__(self, *pieces: bytes, is_complete: bool = True) -> None:
        self.pieces = list(pieces)
        self._is_complete = is_complete
        self.received = 0

    async def receive(self) -> dict[str, Any]:
        self.received += 1
        if not self.pieces:
            await asyncio.sleep(3600)
        piece = self.pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces) or not self._is_complete}


async def refuse(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 413, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def call(client: Client, headers: Iterable[tuple[bytes, bytes]], app: Any = refuse) -> list[Any]:
    """The messages of the app, and how many pieces were received when each was sent."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append((message["type"], client.received))

    async def main() -> None:
        scope = {"type": "http", "headers": list(headers)}
        await asyncio.wait_for(DiscardUnread(app)(scope, client.receive, send), 20)

    asyncio.run(main())
    return sent


@pytest.mark.parametrize("header", [LENGTH, CHUNKED])
def test_the_rest_is_read_after_the_response(header: tuple[bytes, bytes]) -> None:
    client = Client(b"a", b"b", b"c")
    assert call(client, [header]) == [("http.response.start", 0), ("http.response.body", 0)]
    assert (client.pieces, client.received) == ([], 3)


@pytest.mark.parametrize("headers", [[], [LENGTH, (b"expect", b"100-continue")]], ids=["no_body", "waits"])
def test_nothing_is_read_of_a_client_that_sends_nothing(headers: list[tuple[bytes, bytes]]) -> None:
    client = Client(b"a")
    call(client, headers)
    assert client.received == 0


def test_a_body_that_was_read_is_not_waited_for() -> None:
    async def read(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await refuse(scope, receive, send)

    client = Client(b"a", b"b")
    call(client, [LENGTH], read)
    assert client.received == 2


def test_a_client_that_hung_up_is_not_waited_for() -> None:
    class HungUp(Client):
        async def receive(self) -> dict[str, Any]:
            self.received += 1
            return {"type": "http.disconnect"}

    client = HungUp()
    call(client, [LENGTH])
    assert client.received == 1


def test_a_slow_client_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread_bodies, "SECONDS", 0.1)
    client = Client(b"a", is_complete=False)
    call(client, [LENGTH])
    assert client.received == 2


def test_an_endless_body_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread_bodies, "MAX_BYTES", 250)
    client = Client(*[b"x" * 100] * 10)
    call(client, [CHUNKED])
    assert client.received == 3
