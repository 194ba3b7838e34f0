"""Rate limits: requests a minute of a workspace, exact and shared by all processes. If Redis or Valkey is unavailable, each
process counts alone.

RequestGuard counts every request of a workspace whose credential is valid, so 401 and 403 are not counted. The limits are in the
exposures (`limit`) and in the routes of exports and reports.
"""

from __future__ import annotations

import importlib.resources
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple

import hiredis
import redis
from cachetools import LRUCache
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.auth.rate_limit_pipeline import RateLimitPipeline
from api.embedded.paths import find_folders
from api.embedded.valkey import socket_path
from api.errors import ServerError
from api.observability.metrics import RATE_LIMIT_BACKEND_UP
from api.settings import Settings

LOG = logging.getLogger(__name__)
WINDOW_SECONDS = 60
MICROSECONDS = 1_000_000
TIMEOUT_SECONDS = 0.25
# during an outage, the server is tried once in so many seconds
RETRY_INTERVAL_SECONDS = 1.0
MAX_TRACKED_LIMITS = 10_000


class Quota(NamedTuple):
    """What a workspace has left of an endpoint's limit.

    Attributes:
        is_allowed: whether this request is within the limit.
        limit: requests in any minute.
        remaining: requests that are left now.
        reset: seconds (at least 1) until another request becomes available.
    """

    is_allowed: bool
    limit: int
    remaining: int
    reset: int

    @property
    def headers(self) -> list[tuple[str, str]]:
        """RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset."""
        return [
            ("RateLimit-Limit", str(self.limit)),
            ("RateLimit-Remaining", str(self.remaining)),
            ("RateLimit-Reset", str(self.reset)),
        ]


class RateLimiter:
    """Counts requests in Redis or Valkey, by one script: one round trip, and no race between processes."""

    def __init__(self, settings: Settings) -> None:
        self._factor = settings.rate_limit_factor
        self._settings = settings
        self._pool: redis.ConnectionPool | None = None
        self._script = importlib.resources.files("api.auth").joinpath("rate_limit.lua").read_text()
        self._script_sha = ""
        self._thread_local = threading.local()
        self._pipeline: RateLimitPipeline | None = None
        self._local_fallback = _LocalRateLimiter()
        self._lock = threading.Lock()
        self._retry_at = 0.0
        self._is_backend_up = True
        RATE_LIMIT_BACKEND_UP.set(1)

    def acquire(self, workspace_id: str, name: str, limit: int) -> Quota:
        """Counts a request of a workspace under `name`, if it is within the limit. Never fails."""
        return self.acquire_many(workspace_id, name, limit, 1)[1]

    def acquire_many(self, workspace_id: str, name: str, limit: int, requests: int) -> tuple[int, Quota]:
        """Counts requests that came together, as far as they are within the limit. Never fails.

        Returns how many of them are, and the quota after the last one.
        """
        limit *= self._factor
        if self._should_try_backend():
            try:
                reply = self._count(_key(workspace_id, name), limit, requests)
            except (redis.RedisError, OSError, ServerError) as error:
                self._backend_failed(error)
            else:
                self._backend_succeeded()
                return reply[0], _quota(limit, requests - 1, reply)
        return self._local_fallback.acquire((workspace_id, name), limit, requests)

    async def acquire_on_loop(self, workspace_id: str, name: str, limit: int) -> Quota:
        """As `acquire`, without a thread: requests that are in the process at the same time share one round trip.

        All calls come from one event loop.
        """
        return (await self.acquire_many_on_loop(workspace_id, name, limit, 1))[1]

    async def acquire_many_on_loop(self, workspace_id: str, name: str, limit: int, requests: int) -> tuple[int, Quota]:
        """As `acquire_many`, and as `acquire_on_loop`."""
        limit *= self._factor
        if self._should_try_backend():
            if self._pipeline is None:
                self._pipeline = RateLimitPipeline(self._connection_pool, self._script, TIMEOUT_SECONDS)
            try:
                position, reply = await self._pipeline.count(
                    _key(workspace_id, name), limit, WINDOW_SECONDS * MICROSECONDS, requests
                )
            except (redis.RedisError, OSError, ServerError) as error:
                self._backend_failed(error)
            else:
                self._backend_succeeded()
                return max(0, min(requests, reply[0] - position)), _quota(limit, position + requests - 1, reply)
        return self._local_fallback.acquire((workspace_id, name), limit, requests)

    def close(self) -> None:
        """Closes the connections."""
        if self._pipeline is not None:
            self._pipeline.close()
        if self._pool is not None:
            self._pool.disconnect()

    def _count(self, key: str, limit: int, requests: int) -> list[int]:
        connection: Any = getattr(self._thread_local, "connection", None)
        is_new = connection is None
        if connection is None:
            connection = self._thread_local.connection = self._connection_pool().make_connection()
        try:
            return self._run_script(connection, key, limit, requests)
        except (redis.ConnectionError, OSError):
            connection.disconnect()
            # an idle connection may be lost although the server is up again: try once more
            if is_new:
                raise
            return self._run_script(connection, key, limit, requests)
        except redis.TimeoutError:
            # its late answer would be read as the next request's
            connection.disconnect()
            raise

    def _connection_pool(self) -> redis.ConnectionPool:
        # created on first use: writing the OpenAPI document needs no server
        with self._lock:
            if self._pool is None:
                self._pool = _create_pool(self._settings)
            return self._pool

    def _run_script(self, connection: Any, key: str, limit: int, requests: int) -> list[int]:
        # on the connection itself: a client's pool and retries cost more than the round trip
        try:
            return self._call(connection, key, limit, requests)
        except redis.exceptions.NoScriptError:
            connection.send_command("SCRIPT", "LOAD", self._script)
            self._script_sha = connection.read_response().decode()
            return self._call(connection, key, limit, requests)

    def _call(self, connection: Any, key: str, limit: int, requests: int) -> list[int]:
        connection.send_packed_command(_packed_command(self._script_sha, key, limit, WINDOW_SECONDS * MICROSECONDS, requests))
        result: list[int] = connection.read_response()
        return result

    def _should_try_backend(self) -> bool:
        return time.monotonic() >= self._retry_at

    def _backend_failed(self, error: Exception) -> None:
        with self._lock:
            self._retry_at = time.monotonic() + RETRY_INTERVAL_SECONDS
            if self._is_backend_up:
                self._is_backend_up = False
                RATE_LIMIT_BACKEND_UP.set(0)
                LOG.warning(
                    "rate limit backend down, each process counts alone: Redis or Valkey (MAILMART_REDIS_URL) fails: %s",
                    error,
                )

    def _backend_succeeded(self) -> None:
        if not self._is_backend_up:
            with self._lock:
                if not self._is_backend_up:
                    self._is_backend_up = True
                    RATE_LIMIT_BACKEND_UP.set(1)
                    LOG.warning("rate limit backend up: limits are shared by all processes again")


class _LocalRateLimiter:
    """The same count in this process's memory."""

    def __init__(self) -> None:
        self._times_by_key: LRUCache[tuple[str, str], deque[float]] = LRUCache(MAX_TRACKED_LIMITS)
        self._lock = threading.Lock()

    def acquire(self, key: tuple[str, str], limit: int, requests: int) -> tuple[int, Quota]:
        now = time.monotonic()
        with self._lock:
            times = self._times_by_key.setdefault(key, deque())
            while times and times[0] <= now - WINDOW_SECONDS:
                times.popleft()
            allowed = max(0, min(requests, limit - len(times)))
            times.extend([now] * allowed)
            is_allowed = allowed == requests
            # there can be more than the limit, if it was lowered a moment ago
            oldest = times[0 if is_allowed else len(times) - limit]
            remaining = max(0, limit - len(times))
        return allowed, Quota(is_allowed, limit, remaining, _seconds((oldest + WINDOW_SECONDS - now) * MICROSECONDS))


@lru_cache(MAX_TRACKED_LIMITS)
def _packed_command(sha: str, key: str, limit: int, window: int, requests: int) -> list[bytes]:
    command: tuple[Any, ...] = ("EVALSHA", sha, 1, key, limit, window, requests)
    return [hiredis.pack_command(command)]


def _key(workspace_id: str, name: str) -> str:
    return f"mailmart:limit:{name}:{workspace_id}"


def _quota(limit: int, position: int, reply: Sequence[int]) -> Quota:
    """The quota after one of the requests that the script counted together, by its position among them."""
    allowed, remaining, wait, wait_if_rejected = reply
    if position < allowed:
        return Quota(True, limit, remaining + allowed - 1 - position, _seconds(wait))
    return Quota(False, limit, remaining, _seconds(wait_if_rejected))


def _seconds(microseconds: float) -> int:
    return max(1, ceil(microseconds / MICROSECONDS))


def _create_pool(settings: Settings) -> redis.ConnectionPool:
    url = settings.redis_url or f"unix://{socket_path(find_folders(settings.home, settings.server_user))}"
    return redis.ConnectionPool.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
