"""The rate limits' script, called from an event loop: requests that are in the process at the same time share one round trip.

redis-py's asyncio client runs five layers for each command, which cost more than a cached response. So this speaks the protocol
itself, by hiredis. While a round trip is on its way, requests are collected; those under one limit are counted by one call.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis
import redis

# key, limit, window in microseconds
Limit = tuple[str, int, int]
# what hiredis packs (its stub allows one argument only)
Command = tuple[Any, ...]
# the position of a call's first request among those that were counted together, and the script's reply
Counted = tuple[int, Sequence[int]]
# the calls under each limit that are counted together, and of how many requests each one is
Batch = dict[Limit, list[tuple[asyncio.Future[Counted], int]]]
_NOT_COMPLETE = object()
# the wait for a new connection, in parts: a loop that was busy for the whole of one looks again
CONNECT_PARTS = 3


class RateLimitPipeline:
    """One connection to Redis or Valkey. Used on one event loop.

    The ordinary round trip is callbacks only, because tasks cost more than the rest of it. A task connects, and recovers.
    """

    def __init__(self, connection_pool: Callable[[], redis.ConnectionPool], script: str, timeout_seconds: float) -> None:
        """`connection_pool` has the server's address and options; it is called on first use."""
        self._connection_pool = connection_pool
        self._script = script
        self._script_sha = ""
        self._timeout_seconds = timeout_seconds
        self._connection: _Connection | None = None
        self._waiting: Batch = {}
        self._is_busy = False
        self._task: asyncio.Task[None] | None = None

    def count(self, key: str, limit: int, window: int, requests: int = 1) -> asyncio.Future[Counted]:
        """Counts requests under a key, as far as they are within the limit in the window.

        The future raises:
            redis.RedisError, OSError, ServerError: the server is unavailable, does not answer in time, or refuses.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Counted] = loop.create_future()
        self._waiting.setdefault((key, limit, window), []).append((future, requests))
        if not self._is_busy:
            self._is_busy = True
            # after the other requests of this turn of the loop
            loop.call_soon(self._next)
        return future

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _next(self) -> None:
        """Sends the requests that wait."""
        batch, self._waiting = self._waiting, {}
        self._is_busy = bool(batch)
        if not batch:
            return
        if self._connection is None or self._connection.is_lost:
            self._task = asyncio.create_task(self._recover(batch))
        else:
            self._connection.send(self._commands(batch), lambda result: self._receive(batch, result))

    def _receive(self, batch: Batch, result: list[Any] | OSError) -> None:
        """Gives the requests their replies, and sends the next ones."""
        if isinstance(result, TimeoutError):
            self._fail(batch, result)
        elif isinstance(result, OSError):
            # an idle connection may be lost although the server is up again: try once more
            self._task = asyncio.create_task(self._recover(batch))
        else:
            unknown = _resolve(batch, result)
            if unknown:
                # the server's scripts were flushed
                self._task = asyncio.create_task(self._recover(unknown))
            else:
                self._next()

    async def _recover(self, batch: Batch) -> None:
        """Counts a batch after connecting, if there is no connection, and after loading the script."""
        try:
            connection = await self._connected()
            (sha,) = await _succeed(connection, [("SCRIPT", "LOAD", self._script)])
            self._script_sha = sha.decode()
            replies = await connection.call(self._commands(batch))
        # whatever it is belongs to who awaits the futures
        except BaseException as error:
            self._fail(batch, error if isinstance(error, Exception) else ConnectionAbortedError("the process ends"))
            if not isinstance(error, Exception):
                raise
        else:
            for limit, calls in _resolve(batch, replies).items():
                self._fail({limit: calls}, redis.exceptions.NoScriptError("the script is not kept"))
            self._next()

    def _fail(self, batch: Batch, error: Exception) -> None:
        """Fails a batch and the requests that wait: they would wait for the same server."""
        self.close()
        waiting, self._waiting, self._is_busy = self._waiting, {}, False
        for calls in (*batch.values(), *waiting.values()):
            for future, _ in calls:
                if not future.done():
                    future.set_exception(error)

    async def _connected(self) -> _Connection:
        if self._connection is None or self._connection.is_lost:
            connecting = asyncio.ensure_future(_connect(self._connection_pool(), self._timeout_seconds))
            for _ in range(CONNECT_PARTS):
                if not connecting.done():
                    await asyncio.wait({connecting}, timeout=self._timeout_seconds / CONNECT_PARTS)
            if not connecting.done():
                connecting.cancel()
                raise TimeoutError(f"no connection within {self._timeout_seconds} s")
            self._connection = connecting.result()
        return self._connection

    def _commands(self, batch: Batch) -> list[Command]:
        return [
            ("EVALSHA", self._script_sha, 1, key, limit, window, sum([requests for _, requests in calls]))
            for (key, limit, window), calls in batch.items()
        ]


class _Connection(asyncio.Protocol):
    """Sends commands, and collects as many replies. One round trip at a time."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._reader = hiredis.Reader(notEnoughData=_NOT_COMPLETE)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._replies: list[Any] = []
        self._expected = 0
        self._receive: Callable[[list[Any] | OSError], object] | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # it is one of a stream; uvloop's own are of no class of asyncio
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc if isinstance(exc, OSError) else ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NOT_COMPLETE:
                self._replies.append(reply)
        except hiredis.ProtocolError as error:
            self._fail(ConnectionAbortedError(f"not the protocol of Redis: {error}"))
            return
        if len(self._replies) >= self._expected:
            self._finish(self._replies)

    def send(self, commands: Sequence[Command], receive: Callable[[list[Any] | OSError], object]) -> None:
        """Sends commands. `receive` gets the replies, of which an error of the server is one; or why there are none."""
        self._replies, self._expected, self._receive = [], len(commands), receive
        if self.is_lost or self._transport is None:
            self._finish(ConnectionResetError("the connection is lost"))
            return
        self._transport.write(b"".join([hiredis.pack_command(command) for command in commands]))
        # not asyncio.timeout: after a turn in which the loop was busy for so long it sees replies before timers
        self._timer = asyncio.get_running_loop().call_later(self._timeout_seconds, self._time_out)

    async def call(self, commands: Sequence[Command]) -> list[Any]:
        """As `send`, in a task.

        Raises:
            OSError: there are no replies.
        """
        received: asyncio.Future[list[Any] | OSError] = asyncio.get_running_loop().create_future()
        self.send(commands, lambda result: None if received.done() else received.set_result(result))
        result = await received
        if isinstance(result, OSError):
            raise result
        return result

    def close(self) -> None:
        """Closes it at once."""
        self.is_lost = True
        if self._transport is not None:
            self._transport.abort()

    def _time_out(self) -> None:
        self._fail(TimeoutError(f"no reply within {self._timeout_seconds} s"))

    def _fail(self, error: OSError) -> None:
        self.close()
        self._finish(error)

    def _finish(self, result: list[Any] | OSError) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        receive, self._receive = self._receive, None
        if receive is not None:
            receive(result)


async def _connect(pool: redis.ConnectionPool, timeout_seconds: float) -> _Connection:
    """
    Raises:
        redis.RedisError, OSError: the server is unavailable, or refuses the login or the database.
    """
    options = pool.connection_kwargs
    loop = asyncio.get_running_loop()

    def protocol() -> _Connection:
        return _Connection(timeout_seconds)

    if "path" in options:
        _, connection = await loop.create_unix_connection(protocol, options["path"])
    else:
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        _, connection = await loop.create_connection(protocol, host, port, ssl=_tls(pool))
    commands: list[Command] = []
    if options.get("password"):
        commands.append(("AUTH", *([options["username"]] if options.get("username") else []), options["password"]))
    if options.get("db"):
        commands.append(("SELECT", options["db"]))
    try:
        if commands:
            await _succeed(connection, commands)
    except BaseException:
        # nobody else knows it: the loop would keep it open for as long as the server does
        connection.close()
        raise
    return connection


def _tls(pool: redis.ConnectionPool) -> ssl.SSLContext | None:
    """The TLS of a URL rediss://, with the options of its query; None without TLS."""
    if not issubclass(pool.connection_class, redis.SSLConnection):
        return None
    options = {name: value for name, value in pool.connection_kwargs.items() if name.startswith("ssl_")}
    # a large import, for few installations
    from redis.asyncio import SSLConnection

    context: ssl.SSLContext = SSLConnection(**options).ssl_context.get()
    return context


async def _succeed(connection: _Connection, commands: Sequence[Command]) -> list[Any]:
    """
    Raises:
        redis.ResponseError: the server refuses one of the commands.
    """
    replies = await connection.call(commands)
    for reply in replies:
        if isinstance(reply, Exception):
            raise redis.ResponseError(str(reply))
    return replies


def _resolve(batch: Batch, replies: Sequence[Any]) -> Batch:
    """Gives each call its position and the reply, or the error of the server. Returns those for which it lacks the script."""
    unknown: Batch = {}
    for (limit, calls), reply in zip(batch.items(), replies, strict=True):
        is_error = isinstance(reply, hiredis.ReplyError)
        if is_error and str(reply).startswith("NOSCRIPT"):
            unknown[limit] = calls
            continue
        position = 0
        for future, requests in calls:
            # its client may have hung up
            if not future.done():
                if is_error:
                    future.set_exception(redis.ResponseError(str(reply)))
                else:
                    future.set_result((position, reply))
            position += requests
    return unknown
