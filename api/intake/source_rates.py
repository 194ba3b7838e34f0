"""Counts requests for the rates of their sources on the event loop: those that came together, in one round trip to Valkey."""

from __future__ import annotations

import asyncio
import importlib.resources
import time
from collections.abc import Sequence
from math import ceil
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from api.auth.rate_limit import MICROSECONDS, RETRY_INTERVAL_SECONDS, TIMEOUT_SECONDS, WINDOW_SECONDS, Quota, RateLimiter
from api.embedded.paths import find_folders
from api.embedded.valkey import socket_path
from api.errors import ServerError
from api.settings import Settings

# a source, its requests a minute, and how many requests of it came
Counted = tuple[str, int, int]


class SourceRates:
    """For one event loop, one call at a time. If the server fails, the RateLimiter counts, which knows what to do then."""

    def __init__(self, settings: Settings, limiter: RateLimiter) -> None:
        self._settings = settings
        self._limiter = limiter
        self._script = importlib.resources.files("api.auth").joinpath("rate_limit.lua").read_text()
        self._script_sha = ""
        self._connection: redis.asyncio.Connection | None = None
        self._retry_at = 0.0

    async def acquire(self, counted: Sequence[Counted]) -> list[tuple[int, Quota]]:
        """Of each source, how many of its requests are within the rate, and the quota after the last one. Never fails."""
        if time.monotonic() >= self._retry_at:
            try:
                replies = await self._count(counted)
            except (redis.RedisError, OSError, ServerError):
                self._retry_at = time.monotonic() + RETRY_INTERVAL_SECONDS
            else:
                return [self._quota(one, reply) for one, reply in zip(counted, replies, strict=True)]
        # its connection is another one, and it waits for it
        return await asyncio.to_thread(self._acquire_in_thread, counted)

    def _acquire_in_thread(self, counted: Sequence[Counted]) -> list[tuple[int, Quota]]:
        return [self._limiter.acquire_many(source_id, "intake", rate, requests) for source_id, rate, requests in counted]

    def _quota(self, counted: Counted, reply: Sequence[int]) -> tuple[int, Quota]:
        _, rate, requests = counted
        allowed, remaining = reply[0], reply[1]
        seconds = max(1, ceil(reply[-1] / MICROSECONDS))
        return allowed, Quota(allowed == requests, rate * self._settings.rate_limit_factor, remaining, seconds)

    async def _count(self, counted: Sequence[Counted]) -> list[Any]:
        is_new = self._connection is None
        try:
            return await self._call(counted)
        except (redis.TimeoutError, TimeoutError):
            # a late reply would be read as the next one's
            await self._disconnect()
            raise
        except (redis.ConnectionError, OSError):
            await self._disconnect()
            # an idle connection may be lost although the server is up again: try once more
            if is_new:
                raise
            return await self._call(counted)

    async def _call(self, counted: Sequence[Counted]) -> list[Any]:
        connection = await self._connected()
        commands = [self._command(connection, one) for one in counted]
        await connection.send_packed_command(b"".join(commands), check_health=False)
        replies: list[Any] = []
        for _ in counted:
            try:
                replies.append(await connection.read_response())
            except redis.exceptions.NoScriptError:
                replies.append(None)
        # the server's scripts were flushed
        for place, reply in enumerate(replies):
            if reply is None:
                await self._load(connection)
                await connection.send_packed_command(self._command(connection, counted[place]), check_health=False)
                replies[place] = await connection.read_response()
        return replies

    def _command(self, connection: redis.asyncio.Connection, counted: Counted) -> bytes:
        source_id, rate, requests = counted
        limit = rate * self._settings.rate_limit_factor
        key = f"mailmart:limit:intake:{source_id}"
        packed = connection.pack_command("EVALSHA", self._script_sha, 1, key, limit, WINDOW_SECONDS * MICROSECONDS, requests)
        return b"".join(packed)

    async def _connected(self) -> redis.asyncio.Connection:
        if self._connection is None:
            connection: Any = _create_pool(self._settings).make_connection()  # type: ignore[no-untyped-call]
            await connection.connect()
            self._connection = connection
            await self._load(connection)
        return self._connection

    async def _load(self, connection: redis.asyncio.Connection) -> None:
        await connection.send_command("SCRIPT", "LOAD", self._script)
        self._script_sha = (await connection.read_response()).decode()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


def _create_pool(settings: Settings) -> redis.asyncio.ConnectionPool:
    url = settings.redis_url or f"unix://{socket_path(find_folders(settings.home, settings.server_user))}"
    return redis.asyncio.ConnectionPool.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
