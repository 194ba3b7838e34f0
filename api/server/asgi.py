"""The WSGI service behind an ASGI server: no thread ever waits for a client.

Under a WSGI server a thread is held while a client sends its body or reads its response, so as many slow clients as there are
threads stop the service for everybody. Here the event loop does both waits: a request reaches a thread when its body is
complete, and leaves it when its response is. The adapters that exist (a2wsgi, asgiref) read the body in the thread.

Slow clients also come in bursts: bodies that time out at the same moment, or hundreds of readers of one link. So requests wait in
three queues, each with threads of its own: health checks; requests with a credential; and everything else.

A response that needs no thread, such as one to a request that was seen before, is made on the event loop: by `on_loop`.
"""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from api.errors import ApiError, RequestTimeout
from api.server.asgi_types import Receive, Scope, Send
from api.server.handoff import Handoff
from api.server.held_bytes import ClientDisconnected, Held, HeldBytes, read_all

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

T = TypeVar("T")

LOG = logging.getLogger(__name__)
CHUNK_BYTES = 64 * 1024
# a longer body is read for a thread at once: it is no request that is sent again and again
MAX_BODY_ON_LOOP = 8 * 1024
# downloads, documents, and what will be refused: none of them computes for long
THREADS_WITHOUT_CREDENTIAL = 2


@dataclass(frozen=True)
class ClientLimits:
    """How long and how much a client may take.

    Attributes:
        max_body_bytes: one byte more than this is read of a body, so that the service can refuse it as too large.
        body_seconds: for the whole body, however it comes in.
        whole_response_bytes: a response up to this size is handed to the server in one piece.
        chunk_seconds: for the client to take one piece of a longer response.
        min_bytes_per_second: of a longer response, once `grace_seconds` are over.
        grace_seconds: after which the rate counts.
    """

    max_body_bytes: int = 64 * 1024
    body_seconds: float = 10.0
    whole_response_bytes: int = 128 * 1024
    chunk_seconds: float = 30.0
    min_bytes_per_second: int = 16 * 1024
    grace_seconds: float = 60.0


@dataclass(frozen=True)
class LargeBodies:
    """Requests that may have a larger body than the others, if their credential allows it.

    Attributes:
        path_end: how their paths end.
        max_bytes: one byte more than this is read, so that the service can refuse the body as too large.
        workspace_of: the workspace whose body it is, of a WSGI environment without the body; None if the client may not send it.
            Runs in a thread. Raises ApiError if it cannot be known now.
        seconds: for the whole body.
        max_held_bytes: of all such bodies that are being read or answered, and a quarter of it of one workspace's. Above it,
            clients get 503.
    """

    path_end: str
    max_bytes: int
    workspace_of: Callable[[WSGIEnvironment], str | None]
    seconds: float = 30.0
    max_held_bytes: int = 32 * 1024 * 1024


class CompleteResponse(NamedTuple):
    """A response of a few kilobytes, as the ASGI server takes it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True)
class Unfinished:
    """A request that the event loop has begun and a thread continues: its part of the WSGI environment."""

    environ: Mapping[str, Any]


# makes the response to a request with this body, if that needs no thread; if not, the WSGI service makes it. Never blocks.
OnLoop = Callable[[Scope, bytes], Awaitable[CompleteResponse | Unfinished | None]]


@dataclass
class _Response:
    """What the service made: a body that is complete, or the iterator of what follows `head`."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    head: bytes = b""
    rest: Iterator[bytes] | None = None
    close: Callable[[], None] | None = None


class _Announced(NamedTuple):
    """What a request's headers say. The length of its body is 0 if there is no body or it is chunked."""

    length: int
    is_chunked: bool
    has_credential: bool

    @property
    def has_body(self) -> bool:
        return bool(self.length) or self.is_chunked


class _Queues:
    """The threads of a process."""

    def __init__(self, threads: int) -> None:
        self.with_credential = Handoff(threads, "request")
        self.others = Handoff(THREADS_WITHOUT_CREDENTIAL, "other-request")
        self.health = Handoff(1, "health-check")


class AsgiAdapter:
    """The ASGI callable. One for each process of the server."""

    def __init__(
        self,
        application: WSGIApplication,
        *,
        threads: int,
        limits: ClientLimits | None = None,
        health_paths: Collection[str] = (),
        token_paths: Collection[str] = (),
        large_bodies: LargeBodies | None = None,
        on_loop: OnLoop | None = None,
    ) -> None:
        """`threads` answer requests with a credential. A request for one of `health_paths` never waits behind other requests.
        `token_paths` are those whose credential is in the query.

        `on_loop` is tried first for a GET with a credential and without a body, and for a POST with a credential and a short one.
        """
        self._application = application
        self._number_of_threads = threads
        self._limits = limits or ClientLimits()
        self._health_paths = frozenset(health_paths)
        self._token_paths = frozenset(token_paths)
        self._large_bodies = large_bodies
        self._on_loop = on_loop
        max_held_bytes = large_bodies.max_held_bytes if large_bodies is not None else 0
        self._held_bytes = HeldBytes(max_held_bytes, "Too many large bodies are being read; send the request again.")
        self._queues: _Queues | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self._queues is None:
            self._queues = _Queues(self._number_of_threads)
        announced = _announced(scope)
        begun: Mapping[str, Any] = {}
        body: bytes | ApiError | None = None
        if self._on_loop is not None and _may_be_answered_on_loop(scope, announced):
            try:
                body = await self._read_body(announced, receive)
            except ClientDisconnected:
                return
            made = await self._on_loop(scope, body) if isinstance(body, bytes) else None
            if isinstance(made, CompleteResponse):
                await send_complete(send, made)
                return
            begun = made.environ if made is not None else {}
        with Held(self._held_bytes) as held:
            await self._respond(self._queues, scope, announced, receive, send, held, begun, body)

    async def _respond(
        self,
        queues: _Queues,
        scope: Scope,
        announced: _Announced,
        receive: Receive,
        send: Send,
        held: Held,
        begun: Mapping[str, Any],
        body: bytes | ApiError | None,
    ) -> None:
        """`body` is None if it was not read yet."""
        try:
            if body is not None:
                pass
            elif self._large_bodies is not None and self._may_be_large(scope, announced, self._large_bodies):
                body = await self._read_large_body(queues, scope, receive, self._large_bodies, held)
            else:
                body = await self._read_body(announced, receive)
        except ClientDisconnected:
            return
        threads = self._queue(queues, scope, announced, body)
        response = await threads.run(lambda: self._call({**_environ(scope, body), **begun}))
        try:
            await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
            if response.rest is None:
                await send({"type": "http.response.body", "body": response.head})
            else:
                await self._stream(threads, response, receive, send)
        finally:
            if response.close is not None:
                await threads.run(response.close)

    async def run_with_environ(self, scope: Scope, call: Callable[[WSGIEnvironment], T]) -> T:
        """Runs a call in a thread, as if it answered the request; it gets the WSGI environment without the body."""
        self._queues = self._queues or _Queues(self._number_of_threads)
        threads = self._queue(self._queues, scope, _announced(scope), b"")
        return await threads.run(lambda: call(_environ(scope, b"")))

    def _queue(self, queues: _Queues, scope: Scope, announced: _Announced, body: bytes | ApiError) -> Handoff:
        if scope["path"] in self._health_paths:
            return queues.health
        has_credential = announced.has_credential or scope["path"] in self._token_paths
        return queues.others if isinstance(body, ApiError) or not has_credential else queues.with_credential

    async def _read_body(self, announced: _Announced, receive: Receive) -> bytes | ApiError:
        """The body, or the error that reading it raises.

        Raises:
            ClientDisconnected: the client hung up before the body was complete.
        """
        # nothing is waited for that nobody will read
        if not announced.has_body or announced.length > self._limits.max_body_bytes or not announced.has_credential:
            return b""
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                return await read_all(receive, self._limits.max_body_bytes)
        except TimeoutError:
            return RequestTimeout()

    def _may_be_large(self, scope: Scope, announced: _Announced, large: LargeBodies) -> bool:
        return (
            scope["path"].endswith(large.path_end)
            and announced.has_credential
            and (announced.is_chunked or self._limits.max_body_bytes < announced.length <= large.max_bytes)
        )

    async def _read_large_body(
        self, queues: _Queues, scope: Scope, receive: Receive, large: LargeBodies, held: Held
    ) -> bytes | ApiError:
        """As `_read_body`. Nothing is read of a client that may not send it, so strangers cannot fill the memory."""
        try:
            async with asyncio.timeout(large.seconds):
                workspace_id = await queues.with_credential.run(lambda: large.workspace_of(_environ(scope, b"")))
                if workspace_id is None:
                    return b""
                held.workspace_id = workspace_id
                return await read_all(receive, large.max_bytes, held.add)
        except TimeoutError:
            return RequestTimeout()
        except ApiError as error:
            return error

    def _call(self, environ: WSGIEnvironment) -> _Response:
        """Runs in a thread: the response, with its body as far as it is short."""
        response = _Response()
        head: list[bytes] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            response.status = int(status[:3])
            response.headers = encode_headers(headers)
            # write() of PEP 3333, which comes before the first piece of the body
            return head.append

        chunks: Iterable[bytes] = self._application(environ, start_response)
        response.close = getattr(chunks, "close", None)
        rest = iter(chunks)
        size = sum(len(chunk) for chunk in head)
        for chunk in rest:
            head.append(chunk)
            size += len(chunk)
            if size > self._limits.whole_response_bytes:
                response.rest = rest
                break
        response.head = b"".join(head)
        if response.rest is None and response.close is not None:
            # it is complete: nothing is kept open while the client reads
            response.close()
            response.close = None
        return response

    async def _stream(self, threads: Handoff, response: _Response, receive: Receive, send: Send) -> None:
        limits, began, sent = self._limits, time.monotonic(), 0
        chunk, rest = response.head, response.rest
        assert rest is not None  # noqa: S101 - the caller looked
        # the server takes what is sent to a client that hung up, without a word
        hung_up = asyncio.ensure_future(_disconnected(receive))
        try:
            while chunk and not hung_up.done():
                if not await self._send_chunk(chunk, send):
                    return
                sent += len(chunk)
                seconds = time.monotonic() - began
                if seconds > limits.grace_seconds and sent < seconds * limits.min_bytes_per_second:
                    LOG.warning("a download was aborted: %d bytes in %.0f s is below the minimum rate", sent, seconds)
                    return
                chunk = await threads.run(lambda: _read_chunk(rest))
            if not chunk:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            hung_up.cancel()

    async def _send_chunk(self, chunk: bytes, send: Send) -> bool:
        """Whether the client took it in time."""
        try:
            async with asyncio.timeout(self._limits.chunk_seconds):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError:
            LOG.warning("a download was aborted: the client read nothing for %g s", self._limits.chunk_seconds)
            return False
        return True


class _FailingBody(io.RawIOBase):
    """The body of a request that did not arrive in time: reading it raises the error."""

    def __init__(self, error: ApiError) -> None:
        self._error = error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        raise self._error


def raw_path(scope: Scope) -> bytes:
    """The path as the client sent it, as far as the server knows it."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    return path


async def send_complete(send: Send, response: CompleteResponse) -> None:
    """Sends a response."""
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    await send({"type": "http.response.body", "body": response.body})


def encode_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """The headers of WSGI for ASGI."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _read_chunk(rest: Iterator[bytes]) -> bytes:
    """The next piece, b"" at the end; what a file is read by is too small for a turn of the loop each."""
    parts: list[bytes] = []
    size = 0
    for part in rest:
        parts.append(part)
        size += len(part)
        if size >= CHUNK_BYTES:
            break
    return b"".join(parts)


def _may_be_answered_on_loop(scope: Scope, announced: _Announced) -> bool:
    if not announced.has_credential or announced.is_chunked:
        return False
    if scope["method"] == "GET":
        return not announced.length
    return bool(scope["method"] == "POST" and 0 < announced.length <= MAX_BODY_ON_LOOP)


def _announced(scope: Scope) -> _Announced:
    length, is_chunked, has_credential = 0, False, False
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            length = int(value)
        elif name == b"transfer-encoding":
            is_chunked = True
        elif name == b"authorization":
            has_credential = bool(value)
    return _Announced(length, is_chunked, has_credential)


def _environ(scope: Scope, body: bytes | ApiError) -> WSGIEnvironment:
    """The WSGI environment of PEP 3333; texts are bytes decoded as Latin-1, as it wants them."""
    host, port = scope.get("server") or ("localhost", 80)
    path = raw_path(scope)
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path.partition(b"?")[0]).decode("latin-1"),
        # not in PEP 3333: an encoded slash is in the raw path only
        "REQUEST_URI": path.decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BufferedReader(_FailingBody(body)) if isinstance(body, ApiError) else io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if scope.get("client"):
        environ["REMOTE_ADDR"] = scope["client"][0]
    is_chunked = False
    for name_bytes, value_bytes in scope["headers"]:
        name, value = name_bytes.decode("latin-1"), value_bytes.decode("latin-1")
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        elif name == "content-length":
            environ["CONTENT_LENGTH"] = value
        elif name == "transfer-encoding":
            is_chunked = True
        else:
            key = "HTTP_" + name.upper().replace("-", "_")
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    if is_chunked and not isinstance(body, ApiError):
        # the service sees how long it was, which the client did not say
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ
