"""Looks up the source of a token, and caches it for a second."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock

import psycopg
from cachetools import TTLCache

from api.db.pool import ConnectionPool

CACHE_TTL_SECONDS = 1.0
MAX_CACHED_SOURCES = 10_000
# how long a token counts as one that has a source
FOUND_SECONDS = 3600.0


@dataclass(frozen=True)
class Source:
    """What the intake knows of a source.

    Attributes:
        source_id: its id.
        workspace_id: whose mail it is.
        provider: who posts it.
        requests_per_minute: the rate above which requests are refused.
        secrets: signing secrets; none if the source is unsigned.
    """

    source_id: str
    workspace_id: str
    provider: str
    requests_per_minute: int
    secrets: tuple[str, ...]


class SourceStore:
    """Finds sources by the hash of a token, in a function of the database that returns one source. For use by several threads.

    What strangers send is in a cache of its own, so that it pushes no source out of the other one.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        # until when they are used; in the order of these times
        self._recent: dict[bytes, tuple[float, Source]] = {}
        self._unknown: TTLCache[bytes, bool] = TTLCache(MAX_CACHED_SOURCES, CACHE_TTL_SECONDS)
        self._found: TTLCache[bytes, bool] = TTLCache(MAX_CACHED_SOURCES, FOUND_SECONDS)
        self._lock = Lock()

    def cached(self, token_hash: bytes) -> tuple[bool, Source | None]:
        """Whether the answer is known without the database, and the answer."""
        # without the lock: a lookup in a dictionary is one step
        entry = self._recent.get(token_hash)
        if entry is not None and time.monotonic() < entry[0]:
            return True, entry[1]
        with self._lock:
            return token_hash in self._unknown, None

    def was_found(self, token_hash: bytes) -> bool:
        """Whether the token had a source when it was looked up last, within the last hour, in this process."""
        with self._lock:
            return token_hash in self._found

    def find(self, token_hash: bytes) -> Source | None:
        """The source of a token; None if the token is unknown or revoked.

        Raises:
            WarehouseUnavailable: the database is unavailable.
            psycopg.Error: the database is not migrated.
        """

        def read(connection: psycopg.Connection) -> Source | None:
            row = connection.execute("select * from app.find_webhook_source(%s)", (token_hash,)).fetchone()
            return None if row is None else Source(row[0], row[1], row[2], row[3], tuple(row[4]))

        source = self._pool.execute(read)
        with self._lock:
            if source is None:
                self._unknown[token_hash] = True
                self._recent.pop(token_hash, None)
                self._found.pop(token_hash, None)
            else:
                # the oldest first
                self._recent.pop(token_hash, None)
                if len(self._recent) >= MAX_CACHED_SOURCES:
                    del self._recent[next(iter(self._recent))]
                self._recent[token_hash] = (time.monotonic() + CACHE_TTL_SECONDS, source)
                self._found[token_hash] = True
        return source
