"""Requests a minute of a workspace, exact and shared by all processes; while Redis or Valkey is away, each process by itself."""

from __future__ import annotations

import importlib.resources
import logging
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.embedded.paths import find_folders
from api.embedded.valkey import socket_path
from api.errors import ServerError
from api.observability.metrics import RATE_LIMIT_BACKEND_UP
from api.settings import Settings

LOG = logging.getLogger(__name__)
WINDOW_SECONDS = 60
MICROSECONDS = 1_000_000
SECONDS_TO_ANSWER = 0.25
SECONDS_UNTIL_TRIED_AGAIN = 1.0
MAX_KEPT = 10_000


@dataclass(frozen=True)
class Quota:
    """What a workspace has left of an endpoint's limit.

    Attributes:
        counts: whether this request is within the limit.
        limit: requests in any minute.
        remaining: how many are left now.
        reset: seconds, at least 1, until the oldest request that counts is a minute old.
    """

    counts: bool
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
    """Counts requests. One script in the server does it all: one round trip, and no two processes can take the same place."""

    def __init__(self, settings: Settings) -> None:
        self._factor = settings.rate_limit_factor
        self._settings = settings
        self._pool: redis.ConnectionPool | None = None
        self._script = importlib.resources.files("api.auth").joinpath("rate_limit.lua").read_text()
        self._here = threading.local()
        self._sha = ""
        self._alone = _Alone()
        self._lock = threading.Lock()
        self._tried_again_at = 0.0
        self._is_shared = True
        RATE_LIMIT_BACKEND_UP.set(1)

    def take(self, workspace_id: str, name: str, limit: int) -> Quota:
        """Counts a request of a workspace to what `name` stands for, if it is within the limit; never fails."""
        limit *= self._factor
        if time.monotonic() >= self._tried_again_at:
            try:
                counts, remaining, wait = self._ask(f"mailmart:limit:{name}:{workspace_id}", limit)
            except (redis.RedisError, OSError, ServerError) as error:
                self._lost(error)
            else:
                self._found()
                return Quota(bool(counts), limit, remaining, _seconds(wait))
        return self._alone.take((workspace_id, name), limit)

    def close(self) -> None:
        """Gives the connections back."""
        if self._pool is not None:
            self._pool.disconnect()

    def _ask(self, key: str, limit: int) -> list[int]:
        connection: Any = getattr(self._here, "connection", None)
        is_new = connection is None
        if connection is None:
            connection = self._here.connection = self._connections().make_connection()
        try:
            return self._run(connection, key, limit)
        except (redis.ConnectionError, OSError) as error:
            connection.disconnect()
            # one that stood idle may have died with a server that is back by now; a silence is not asked twice
            if is_new or isinstance(error, redis.TimeoutError):
                raise
            return self._run(connection, key, limit)
        except redis.TimeoutError:
            # its answer would be taken for the next one's
            connection.disconnect()
            raise

    def _connections(self) -> redis.ConnectionPool:
        # not before it is needed: who only writes the document has no servers
        with self._lock:
            if self._pool is None:
                self._pool = _connections(self._settings)
            return self._pool

    def _run(self, connection: Any, key: str, limit: int) -> list[int]:
        # the connection itself: a client's pool and retries cost more than the round trip
        try:
            return self._call(connection, key, limit)
        except redis.exceptions.NoScriptError:
            connection.send_command("SCRIPT", "LOAD", self._script)
            self._sha = connection.read_response().decode()
            return self._call(connection, key, limit)

    def _call(self, connection: Any, key: str, limit: int) -> list[int]:
        connection.send_packed_command(_packed(self._sha, key, limit, WINDOW_SECONDS * MICROSECONDS))
        answer: list[int] = connection.read_response()
        return answer

    def _lost(self, error: Exception) -> None:
        with self._lock:
            self._tried_again_at = time.monotonic() + SECONDS_UNTIL_TRIED_AGAIN
            if self._is_shared:
                self._is_shared = False
                RATE_LIMIT_BACKEND_UP.set(0)
                LOG.warning(
                    "rate limits are counted by each process alone: Redis or Valkey (MAILMART_REDIS_URL) does not answer: %s",
                    error,
                )

    def _found(self) -> None:
        if not self._is_shared:
            with self._lock:
                if not self._is_shared:
                    self._is_shared = True
                    RATE_LIMIT_BACKEND_UP.set(1)
                    LOG.warning("rate limits are shared again")


class _Alone:
    """The same count in this process's memory."""

    def __init__(self) -> None:
        self._moments: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: tuple[str, str], limit: int) -> Quota:
        now = time.monotonic()
        with self._lock:
            moments = self._moments.setdefault(key, deque())
            self._moments.move_to_end(key)
            while len(self._moments) > MAX_KEPT:
                self._moments.popitem(last=False)
            while moments and moments[0] <= now - WINDOW_SECONDS:
                moments.popleft()
            counts = len(moments) < limit
            if counts:
                moments.append(now)
            # more than the limit, where it was higher a moment ago
            leaving = moments[0 if counts else len(moments) - limit]
            remaining = max(0, limit - len(moments))
        return Quota(counts, limit, remaining, _seconds((leaving + WINDOW_SECONDS - now) * MICROSECONDS))


@lru_cache(MAX_KEPT)
def _packed(sha: str, key: str, limit: int, window: int) -> list[bytes]:
    command: tuple[Any, ...] = ("EVALSHA", sha, 1, key, limit, window)
    return [hiredis.pack_command(command)]


def _seconds(microseconds: float) -> int:
    return max(1, ceil(microseconds / MICROSECONDS))


def _connections(settings: Settings) -> redis.ConnectionPool:
    url = settings.redis_url or f"unix://{socket_path(find_folders(settings.home))}"
    return redis.ConnectionPool.from_url(
        url,
        socket_timeout=SECONDS_TO_ANSWER,
        socket_connect_timeout=SECONDS_TO_ANSWER,
        retry=Retry(NoBackoff(), 0),
    )
