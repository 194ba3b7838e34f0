"""HTTP/1.1 in the loop's thread: what is no ordinary request, and what a connection does between two of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from api.server import http1
from api.server.exchange import Exchange, make_response
from api.server.held_bytes import ClientDisconnected
from api.server.http1 import Connections

HEADERS = [("content-type", "text/plain")]


class Echo:
    """Responds with what it got: at once if the path is /now and the body is there, or once it may."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.headers: set[str] = set()
        self.lost: list[int] = []
        self.may_respond = asyncio.Event()
        self.may_respond.set()

    def handle(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        if exchange.path == "/now" and exchange.is_complete:
            self._respond(exchange, exchange.take())
            return None
        return self._work(exchange)

    async def _work(self, exchange: Exchange) -> None:
        try:
            if exchange.path == "/pieces":
                body = await exchange.read_pieces(None, 10_000_000, lambda _: None)
            else:
                body = b"" if exchange.path == "/unread" else await exchange.read_whole()
        except ClientDisconnected:
            self.lost.append(exchange.refusal)
            return
        await self.may_respond.wait()
        self._respond(exchange, body)

    def _respond(self, exchange: Exchange, body: bytes) -> None:
        self.headers.update(exchange.headers)
        self.got.append(f"{exchange.method} {exchange.path}?{exchange.query_string} {len(body)}")
        exchange.respond(make_response(200, HEADERS, self.got[-1].encode()))


Client = Callable[..., Awaitable[bytes]]
HOST = b"POST /pieces HTTP/1.1\r\nhost: x\r\n"
CHUNKED = HOST + b"transfer-encoding: chunked\r\n\r\n"
UPGRADE = b"connection: upgrade\r\nupgrade: h2c\r\n"
OFFER = b"POST /h2c HTTP/1.1\r\nhost: x\r\n" + UPGRADE + b"content-length: 2\r\n\r\n"


def request(head: str, body: bytes = b"", *, close: bool = True) -> bytes:
    length = f"content-length: {len(body)}\r\n" if body else ""
    return f"{head} HTTP/1.1\r\nhost: x\r\n{length}{'connection: close' if close else 'x: y'}\r\n\r\n".encode() + body


def run(test: Callable[[Echo, Connections, Client], Awaitable[None]], max_connections: int = 10) -> None:
    async def main() -> None:
        app = Echo()
        connections = Connections(app, max_connections)
        server = await asyncio.get_running_loop().create_server(connections.make, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def client(*parts: bytes, eof: bool = False) -> bytes:
            """Sends the parts, and reads until the server closes the connection."""
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.005)
            if eof:
                writer.write_eof()
            content = await reader.read()
            writer.close()
            return content

        await asyncio.wait_for(test(app, connections, client), 20)
        server.close()
        await asyncio.wait_for(connections.drain(), 20)

    uvloop.run(main())


def test_requests_of_one_connection_are_handled_in_order() -> None:
    """Also those that come before the response of the one before, and in pieces."""

    async def test(app: Echo, connections: Connections, client: Client) -> None:
        app.may_respond.clear()
        asyncio.get_running_loop().call_later(0.05, app.may_respond.set)
        many = request("POST /a%20b?x=1", b"12", close=False) + request("GET /c", close=False) + request("POST /d", b"123")
        got = await client(many[:30], many[30:90], many[90:])
        assert app.got == ["POST /a b?x=1 2", "GET /c? 0", "POST /d? 3"]
        assert got.count(b"HTTP/1.1 200 OK\r\n") == 3
        assert got.count(b"connection: close") == 1
        assert got.count(b"date: ") == 3

    run(test)


def test_large_bodies_and_chunks() -> None:
    async def test(app: Echo, connections: Connections, client: Client) -> None:
        large = b"x" * 3_000_000
        chunks = (
            b"POST /pieces HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\n12345\r\n",
            b"1\r\n6\r\n0\r\n\r\n",
        )
        await client(request("POST /whole", large))
        await client(request("POST /pieces", large))
        await client(*chunks)
        assert app.got == ["POST /whole? 3000000", "POST /pieces? 3000000", "POST /pieces? 6"]
        # a body that is not read ends the connection
        assert (await client(request("POST /unread", large[:1_000], close=False)[:-10])).startswith(b"HTTP/1.1 200 OK")

    run(test)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST  / HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (HOST + b"expect: banana\r\n\r\n", 417),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.2\r\nhost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nhost: x\n\n", 400),
        (b"GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 200_000, 431),
        # also if all of it comes at once
        (HOST + b"".join(b"x%d: y\r\n" % number for number in range(9_000)) + b"\r\n", 431),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (HOST + b"no colon\r\n\r\n", 400),
        (HOST + b"x: a\r\n folded\r\n\r\n", 400),
        (HOST + b"x: a\rb\r\n\r\n", 400),
        (HOST + b"x: a\x00b\r\n\r\n", 400),
        # two parties that read such a body in different ways would find different requests
        (HOST + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
        (HOST + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (HOST + b"transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n", 400),
        (HOST + UPGRADE + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (HOST + UPGRADE + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
        (HOST + b"content-length: +1\r\n\r\na", 400),
        (HOST + b"content-length: 1, 1\r\n\r\na", 400),
        (HOST + b"content-length : 1\r\n\r\na", 400),
        (HOST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (HOST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        (HOST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (CHUNKED + b"0x1\r\na\r\n0\r\n\r\n", 400),
        (CHUNKED + b"1\na\r\n0\r\n\r\n", 400),
        (CHUNKED + b"1\r\na0\r\n\r\n", 400),
        (CHUNKED + b"fffffffffffffffff\r\n", 400),
        (CHUNKED + b"1\r\na\r\n0\r\ncontent-length: 4\r\n\r\n", 400),
        (CHUNKED + b"1\r\na\r\n0\r\n" + b"x: y\r\n" * 40_000, 431),
        (CHUNKED + b"1;" + b"x" * 600_000, 431),
    ],
)
def test_what_is_no_request_is_refused(sent: bytes, status: int) -> None:
    async def test(app: Echo, connections: Connections, client: Client) -> None:
        assert (await client(sent)).startswith(b"HTTP/1.1 %d " % status)
        assert app.got == []

    run(test)


def test_a_trailer_is_no_header() -> None:
    async def test(app: Echo, connections: Connections, client: Client) -> None:
        assert b"200 OK" in await client(CHUNKED + b"1\r\na\r\n", b"0\r\nx-late: 1\r\n\r\n" + request("GET /next"))
        assert app.got == ["POST /pieces? 1", "GET /next? 0"]
        assert "x-late" not in app.headers

    run(test)


def test_a_body_that_is_cut_off_or_broken_is_lost() -> None:
    async def test(app: Echo, connections: Connections, client: Client) -> None:
        assert await client(request("POST /", b"12345")[:-1], eof=True) == b""
        assert (await client(CHUNKED + b"5\r\n12345\r\n", b"zz\r\n")).startswith(b"HTTP/1.1 400 ")
        # the app knows which of them has a response
        assert (app.lost, app.got) == ([0, 400], [])

    run(test)


@pytest.mark.parametrize(
    ("parts", "got"),
    [
        ((request("GET /now"),), ["GET /now? 0"]),
        ((request("HEAD /x"),), ["HEAD /x? 0"]),
        # a target in absolute form
        ((request("GET http://x/a%20b?c=d"),), ["GET /a b?c=d 0"]),
        ((request("POST /now", b"12")[:-1], b"2"), ["POST /now? 2"]),
        # as many as come at once
        ((request("POST /now", b"12", close=False) * 5_000 + request("GET /x"),), ["POST /now? 2"] * 5_000 + ["GET /x? 0"]),
        (((HOST + UPGRADE + b"\r\n") * 2_000 + request("GET /x"),), ["POST /pieces? 0"] * 2_000 + ["GET /x? 0"]),
        ((OFFER, b"[]" + request("GET /x")), ["POST /h2c? 2", "GET /x? 0"]),
        ((OFFER + b"[]" + request("GET /x"),), ["POST /h2c? 2", "GET /x? 0"]),
        # an old client reads until the server closes the connection
        ((b"GET /old HTTP/1.0\r\n\r\n",), ["GET /old? 0"]),
        ((b"POST /old HTTP/1.0\r\n" + UPGRADE + b"content-length: 2\r\n\r\n[]",), ["POST /old? 2"]),
        # a header that is cut in two is no beginning of a request
        ((HOST + b"x: A", b"B  c\r\nconnection: close\r\n\r\n"), ["POST /pieces? 0"]),
    ],
)
def test_what_is_a_request(parts: tuple[bytes, ...], got: list[str]) -> None:
    async def test(app: Echo, connections: Connections, client: Client) -> None:
        assert (await client(*parts)).count(b"HTTP/1.1 200 OK\r\n") == len(got)
        assert app.got == got

    run(test)


def test_responses_to_special_requests() -> None:
    async def test(app: Echo, connections: Connections, client: Client) -> None:
        assert (await client(request("HEAD /x"))).endswith(b"\r\n\r\n")
        waits = b"POST /x HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n"
        assert (await client(waits, b"ab")).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        # a client that sends no more may still read
        assert b"200 OK" in await client(request("POST /", b"12345", close=False), eof=True)

    run(test)


def test_connections_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "HEADER_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(http1, "IDLE_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(http1, "LINGER_SECONDS", 0.05)
    monkeypatch.setattr(http1, "SWEEP_SECONDS", 0.02)

    async def test(app: Echo, connections: Connections, client: Client) -> None:
        assert await client() == b""
        assert (await client(b"GET / HT")).startswith(b"HTTP/1.1 408 ")
        assert (await client(request("GET /", close=False))).startswith(b"HTTP/1.1 200 OK")

    run(test)


def test_too_many_connections() -> None:
    async def test(app: Echo, connections: Connections, client: Client) -> None:
        app.may_respond.clear()
        waiting = asyncio.ensure_future(client(request("GET /")))
        await asyncio.sleep(0.05)
        assert (await client(request("GET /"))).startswith(b"HTTP/1.1 503 ")
        app.may_respond.set()
        assert (await waiting).startswith(b"HTTP/1.1 200 OK")
        assert (await client(request("GET /"))).startswith(b"HTTP/1.1 200 OK")

    run(test, max_connections=1)


def test_draining_finishes_requests() -> None:
    async def test(app: Echo, connections: Connections, client: Client) -> None:
        app.may_respond.clear()
        busy, idle = asyncio.ensure_future(client(request("GET /", close=False))), asyncio.ensure_future(client())
        await asyncio.sleep(0.05)
        draining = asyncio.ensure_future(connections.drain())
        assert await idle == b""
        app.may_respond.set()
        assert b"connection: close" in await busy
        await draining

    run(test)
