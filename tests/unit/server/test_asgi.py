"""The ASGI adapter: bodies arrive whole or not at all, responses leave whole or in pieces, and no thread waits for a client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from api.errors import ApiError, RequestTimeout, WarehouseUnavailable
from api.server.asgi import AsgiAdapter, ClientLimits, CompleteResponse, LargeBodies, Unfinished

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

QUICK = ClientLimits(max_body_bytes=100, body_seconds=0.2, whole_response_bytes=1000, chunk_seconds=0.2, grace_seconds=60)
CREDENTIAL = (b"authorization", b"Bearer x")


def scope(
    method: str = "GET", path: str = "/", headers: Iterable[tuple[bytes, bytes]] = (), query: bytes = b""
) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "http_version": "1.1",
        "headers": list(headers),
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 5),
    }


class Client:
    """Sends the pieces of a body, then is silent; takes `takes` pieces of the response, then is silent."""

    def __init__(self, *pieces: bytes, is_complete: bool = True, takes: int = 1_000_000, hangs_up: bool = False) -> None:
        self._pieces = list(pieces) or ([b""] if is_complete else [])
        self._is_complete = is_complete
        self._takes = takes
        self._hangs_up = hangs_up
        self.messages: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self._pieces:
            piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._pieces) or not self._is_complete}
        if not self._hangs_up:
            await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body" and len(self.messages) > self._takes:
            await asyncio.sleep(3600)
        self.messages.append(dict(message))

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


def call(application: Any, request: dict[str, Any], client: Client, limits: ClientLimits = QUICK) -> Client:
    async def main() -> None:
        service = AsgiAdapter(application, threads=2, limits=limits)
        await asyncio.wait_for(service(request, client.receive, client.send), 20)

    asyncio.run(main())
    return client


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("X-Length", environ.get("CONTENT_LENGTH", ""))])
    return [body]


def test_a_body_reaches_the_service_when_it_is_complete() -> None:
    headers = [CREDENTIAL, (b"content-length", b"4")]
    client = call(echo, scope("POST", headers=headers), Client(b"ab", b"cd"))
    assert client.messages[0]["status"] == 200
    assert client.body == b"abcd"


def test_what_is_written_comes_before_the_body() -> None:
    def writes(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])(b"first, ")
        return [b"second"]

    assert call(writes, scope(), Client()).body == b"first, second"


def test_a_chunked_body_gets_its_length() -> None:
    client = call(echo, scope("POST", headers=[CREDENTIAL, (b"transfer-encoding", b"chunked")]), Client(b"ab", b"c"))
    assert (b"x-length", b"3") in client.messages[0]["headers"]


def test_a_chunked_body_is_read_no_further_than_it_takes_to_refuse_it() -> None:
    endless = Client(*[b"x" * 60] * 50)
    client = call(echo, scope("POST", headers=[CREDENTIAL, (b"transfer-encoding", b"chunked")]), endless)
    assert len(client.body) == 120


def large(path: str, *pieces: bytes, credential: bytes = b"Bearer good", length: int | None = None, **client: Any) -> Client:
    """A request to a service whose `…/events` take 1,000 bytes."""

    async def main() -> Client:
        service = AsgiAdapter(reads, threads=2, limits=QUICK, large_bodies=LargeBodies("/events", 1000, sender_of, seconds=0.2))
        size = length or sum(map(len, pieces))
        headers = [(b"authorization", credential), (b"content-length", str(size).encode())]
        sender = Client(*pieces, **client)
        await asyncio.wait_for(service(scope("POST", path, headers), sender.receive, sender.send), 20)
        return sender

    return asyncio.run(main())


def sender_of(environ: WSGIEnvironment) -> str | None:
    """The workspace is that of the key, in the place of a guard."""
    credential = environ["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    if credential == "unknown":
        raise WarehouseUnavailable("unavailable")
    return None if credential == "bad" else credential


def reads(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    try:
        body = environ["wsgi.input"].read()
    except ApiError as error:
        start_response(f"{error.status} ", [])
        return [b""]
    start_response("200 OK", [])
    return [body]


def test_a_large_body_needs_a_valid_credential() -> None:
    assert len(large("/w/events", b"x" * 400, b"x" * 400).body) == 800
    # one byte more than allowed is read, or nothing if it was announced
    assert len(large("/w/events", b"x" * 800, b"x" * 800, length=900).body) == 1600
    assert large("/w/events", b"x" * 2000).body == b""
    assert large("/w/events", b"x" * 800, credential=b"Bearer bad").body == b""
    assert large("/w/events", b"x" * 800, credential=b"Bearer unknown").messages[0]["status"] == 503
    # other paths, and small bodies, are as they were
    assert large("/w/reports", b"x" * 800).body == b""
    assert large("/w/events", b"x" * 80, credential=b"Bearer bad").body == b"x" * 80


def test_a_large_body_that_trickles_in_is_an_error() -> None:
    assert large("/w/events", b"x", length=900, is_complete=False).messages[0]["status"] == 408


def test_large_bodies_of_one_workspace_do_not_stop_those_of_others() -> None:
    """Four that do not end hold what one workspace may hold; then it gets 503, and another one is answered."""

    async def main() -> None:
        limits = LargeBodies("/events", 1000, sender_of, seconds=3600, max_held_bytes=16_000)
        service = AsgiAdapter(reads, threads=2, limits=QUICK, large_bodies=limits)

        def send(key: bytes, *, is_complete: bool) -> asyncio.Task[Client]:
            headers = [(b"authorization", b"Bearer " + key), (b"content-length", b"1000")]
            client = Client(b"x" * 999, is_complete=is_complete)
            return asyncio.create_task(_request(service, scope("POST", "/w/events", headers), client))

        endless = [send(b"good", is_complete=False) for _ in range(5)]
        done, _ = await asyncio.wait(endless, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result().messages[0]["status"] for task in done] == [503]
        assert len((await asyncio.wait_for(send(b"other", is_complete=True), 20)).body) == 999
        for task in endless:
            task.cancel()
        await asyncio.gather(*endless, return_exceptions=True)
        assert len((await asyncio.wait_for(send(b"good", is_complete=True), 20)).body) == 999

    asyncio.run(main())


def test_a_body_that_trickles_in_is_an_error_for_who_reads_it() -> None:
    def reads(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        with pytest.raises(RequestTimeout):
            environ["wsgi.input"].read()
        start_response("408 REQUEST TIMEOUT", [])
        return [b"too slow"]

    headers = [CREDENTIAL, (b"content-length", b"50")]
    client = call(reads, scope("POST", headers=headers), Client(b"a", is_complete=False))
    assert (client.messages[0]["status"], client.body) == (408, b"too slow")


@pytest.mark.parametrize(
    "headers", [[(b"content-length", b"50")], [CREDENTIAL, (b"content-length", b"101")]], ids=["no_credential", "too_large"]
)
def test_a_body_that_will_be_refused_is_not_waited_for(headers: list[tuple[bytes, bytes]]) -> None:
    slow = ClientLimits(max_body_bytes=100, body_seconds=3600)
    client = call(echo, scope("POST", headers=headers), Client(is_complete=False), slow)
    assert client.messages[0]["status"] == 200


def test_a_client_that_hangs_up_before_its_body_is_complete_gets_nothing() -> None:
    headers = [CREDENTIAL, (b"content-length", b"50")]
    assert call(echo, scope("POST", headers=headers), Client(b"a", is_complete=False, hangs_up=True)).messages == []


def test_the_environment_is_that_of_pep_3333() -> None:
    seen: dict[str, Any] = {}

    def look(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        seen.update(environ)
        start_response("204 NO CONTENT", [])
        return []

    headers = [(b"x-request-id", b"a"), (b"accept", b"b"), (b"accept", b"c")]
    call(look, scope(path="/caf%C3%A9/%FF", headers=headers, query=b"a=%20"), Client())
    assert seen["PATH_INFO"].encode("latin-1") == "/café/".encode() + b"\xff"
    assert (seen["QUERY_STRING"], seen["HTTP_X_REQUEST_ID"], seen["HTTP_ACCEPT"]) == ("a=%20", "a", "b,c")
    assert (seen["REMOTE_ADDR"], seen["SERVER_PORT"], seen["wsgi.url_scheme"]) == ("127.0.0.1", "80", "http")


class Long:
    """A response of many pieces, that knows how much of it was read and whether it was closed."""

    def __init__(self, pieces: int = 100) -> None:
        self._pieces = pieces
        self.read = 0
        self.closed = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return self

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self._pieces):
            self.read += 1
            yield b"x" * 65536

    def close(self) -> None:
        self.closed.set()


def test_a_long_response_comes_in_pieces_and_is_closed() -> None:
    response = Long()
    client = call(response, scope(), Client())
    assert len(client.body) == 100 * 65536
    assert [message.get("more_body") for message in client.messages[-2:]] == [True, False]
    assert response.closed.is_set()


@pytest.mark.parametrize("client", [Client(takes=3), Client(hangs_up=True)], ids=["reads_nothing", "hung_up"])
def test_a_client_that_takes_nothing_ends_its_response(client: Client) -> None:
    response = Long()
    call(response, scope(), client)
    assert response.closed.is_set()
    assert response.read < 10
    # cut off: the server ends the connection
    assert client.messages[-1]["more_body"] is True


def test_a_client_below_the_lowest_rate_ends_its_response() -> None:
    response = Long()
    limits = ClientLimits(whole_response_bytes=1000, grace_seconds=-1, min_bytes_per_second=10**12)
    call(response, scope(), Client(), limits)
    assert response.closed.is_set()
    assert response.read < 10


def test_a_thread_is_free_while_clients_are_slow() -> None:
    async def main() -> None:
        limits = ClientLimits(whole_response_bytes=1000)
        service = AsgiAdapter(lambda environ, start: (start("200 OK", []), Long(50))[1](environ, start), threads=1, limits=limits)
        silent = [asyncio.create_task(_call(service, Client(takes=2))) for _ in range(20)]
        trickling = [
            asyncio.create_task(_call(service, Client(b"a", is_complete=False), [CREDENTIAL, (b"content-length", b"9")]))
            for _ in range(20)
        ]
        await asyncio.sleep(0.1)
        quick = Client()
        await asyncio.wait_for(_call(service, quick), 20)
        assert len(quick.body) == 50 * 65536
        for task in (*silent, *trickling):
            task.cancel()
        await asyncio.gather(*silent, *trickling, return_exceptions=True)

    asyncio.run(main())


async def _call(service: AsgiAdapter, client: Client, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    await service(scope("POST" if headers else "GET", headers=headers), client.receive, client.send)


def test_a_burst_of_requests_without_a_credential_delays_no_other() -> None:
    is_released = threading.Event()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        if environ["PATH_INFO"] == "/download":
            is_released.wait(20)
        start_response("200 OK", [])
        return [b"x"]

    async def main() -> None:
        service = AsgiAdapter(application, threads=2, limits=QUICK, health_paths={"/healthz"})
        burst = [asyncio.ensure_future(_request(service, scope(path="/download"))) for _ in range(50)]
        # bodies that time out at the same moment wait behind them, and not in front of anybody else
        late = scope("POST", "/late", headers=[CREDENTIAL, (b"content-length", b"50")])
        burst += [asyncio.ensure_future(_request(service, late, Client(b"a", is_complete=False))) for _ in range(50)]
        await asyncio.sleep(2 * QUICK.body_seconds)
        try:
            for other in (scope(path="/healthz"), scope(headers=[CREDENTIAL])):
                assert (await asyncio.wait_for(_request(service, other), 10)).body == b"x"
            assert not any(request.done() for request in burst)
        finally:
            is_released.set()
        await asyncio.gather(*burst)

    asyncio.run(main())


def test_a_health_check_waits_for_no_other_request() -> None:
    is_released = threading.Event()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            is_released.wait(20)
        start_response("200 OK", [])
        return [b"x"]

    async def main() -> None:
        service = AsgiAdapter(application, threads=2, limits=QUICK, health_paths={"/healthz"})
        others = [asyncio.ensure_future(_request(service, scope(headers=[CREDENTIAL]))) for _ in range(10)]
        try:
            assert (await asyncio.wait_for(_request(service, scope(path="/healthz")), 10)).body == b"x"
        finally:
            is_released.set()
        await asyncio.gather(*others)

    asyncio.run(main())


async def _request(service: AsgiAdapter, request: dict[str, Any], client: Client | None = None) -> Client:
    client = client or Client()
    await service(request, client.receive, client.send)
    return client


def test_what_the_service_raises_reaches_the_server() -> None:
    def fails(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        call(fails, scope(), Client())


@pytest.mark.parametrize(
    ("method", "headers", "body"),
    [
        ("GET", [CREDENTIAL], b"of the loop"),
        ("GET", [CREDENTIAL, (b"content-length", b"0")], b"of the loop"),
        ("GET", [CREDENTIAL, (b"x-needs", b"a thread")], b"of a thread"),
        ("GET", [], b"of a thread"),
        ("GET", [CREDENTIAL, (b"content-length", b"1")], b"of a thread"),
        ("GET", [CREDENTIAL, (b"transfer-encoding", b"chunked")], b"of a thread"),
        ("HEAD", [CREDENTIAL], b"of a thread"),
        ("POST", [CREDENTIAL], b"of a thread"),
        ("POST", [CREDENTIAL, (b"content-length", b"1")], b"of the loop"),
        ("POST", [(b"content-length", b"1")], b"of a thread"),
        ("POST", [CREDENTIAL, (b"content-length", b"8193")], b"of a thread"),
        ("POST", [CREDENTIAL, (b"transfer-encoding", b"chunked")], b"of a thread"),
        ("PATCH", [CREDENTIAL, (b"content-length", b"1")], b"of a thread"),
    ],
)
def test_what_has_a_credential_and_at_most_a_short_body_is_answered_on_the_loop(
    method: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        return [b"of a thread"]

    async def on_loop(scope: Any, body: bytes) -> CompleteResponse | None:
        is_complete = (b"x-needs", b"a thread") not in scope["headers"]
        return CompleteResponse(200, [(b"x-made", b"1")], b"of the loop") if is_complete else None

    async def main() -> None:
        service = AsgiAdapter(application, threads=1, limits=QUICK, on_loop=on_loop)
        client = Client(b"x")
        await service(scope(method, headers=headers), client.receive, client.send)
        assert client.body == body

    asyncio.run(main())


def test_a_thread_goes_on_with_what_the_loop_has_begun() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["mailmart.begun"], environ["PATH_INFO"].encode()]

    async def on_loop(scope: Any, body: bytes) -> Unfinished:
        return Unfinished({"mailmart.begun": b"on the loop: "})

    async def main() -> None:
        service = AsgiAdapter(application, threads=1, limits=QUICK, on_loop=on_loop)
        assert (await _request(service, scope(path="/a", headers=[CREDENTIAL]))).body == b"on the loop: /a"
        # a client cannot send what the loop has not begun
        sent = [(b"mailmart.begun", b"x"), CREDENTIAL]
        assert (await _request(service, scope(path="/a", headers=sent))).body == b"on the loop: /a"

    asyncio.run(main())


@pytest.mark.parametrize("begun", [None, Unfinished({})])
def test_a_body_that_the_loop_has_read_reaches_the_thread(begun: Unfinished | None) -> None:
    seen: list[bytes] = []

    async def on_loop(scope: Any, body: bytes) -> Unfinished | None:
        seen.append(body)
        return begun

    async def main() -> None:
        service = AsgiAdapter(echo, threads=1, limits=QUICK, on_loop=on_loop)
        client = Client(b"ab", b"cd")
        await service(scope("POST", headers=[CREDENTIAL, (b"content-length", b"4")]), client.receive, client.send)
        assert (client.body, seen) == (b"abcd", [b"abcd"])

    asyncio.run(main())


def test_a_short_body_that_does_not_come_is_an_error_of_the_thread() -> None:
    async def on_loop(scope: Any, body: bytes) -> None:
        raise AssertionError("it has no body")

    def reads(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        with pytest.raises(RequestTimeout):
            environ["wsgi.input"].read()
        start_response("408 REQUEST TIMEOUT", [])
        return []

    async def main() -> None:
        service = AsgiAdapter(reads, threads=1, limits=QUICK, on_loop=on_loop)
        request = scope("POST", headers=[CREDENTIAL, (b"content-length", b"4")])
        client = Client(b"ab", is_complete=False)
        await asyncio.wait_for(service(request, client.receive, client.send), 20)
        assert client.messages[0]["status"] == 408
        hung_up = Client(b"ab", is_complete=False, hangs_up=True)
        await asyncio.wait_for(service(request, hung_up.receive, hung_up.send), 20)
        assert not hung_up.messages

    asyncio.run(main())


def test_the_loop_answers_although_all_threads_are_busy() -> None:
    is_released = threading.Event()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        is_released.wait(20)
        start_response("200 OK", [])
        return [b"slow"]

    async def on_loop(scope: Any, body: bytes) -> CompleteResponse | None:
        return CompleteResponse(200, [], b"cached") if scope["path"] == "/cached" else None

    async def main() -> None:
        service = AsgiAdapter(application, threads=1, limits=QUICK, on_loop=on_loop)
        slow = [asyncio.ensure_future(_request(service, scope(headers=[CREDENTIAL]))) for _ in range(5)]
        await asyncio.sleep(0.05)
        try:
            assert (await _request(service, scope(path="/cached", headers=[CREDENTIAL]))).body == b"cached"
        finally:
            is_released.set()
        assert {client.body for client in await asyncio.gather(*slow)} == {b"slow"}

    asyncio.run(main())
