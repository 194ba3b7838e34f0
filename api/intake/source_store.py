"""Looks up the source of a token, and caches it for a second."""

from __future__ import annotations

from contextlib import suppress
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
        self._sources: TTLCache[bytes, Source] = TTLCache(MAX_CACHED_SOURCES, CACHE_TTL_SECONDS)
        self._unknown: TTLCache[bytes, bool] = TTLCache(MAX_CACHED_SOURCES, CACHE_TTL_SECONDS)
        self._found: TTLCache[bytes, bool] = TTLCache(MAX_CACHED_SOURCES, FOUND_SECONDS)
        self._lock = Lock()

    def cached(self, token_hash: bytes) -> tuple[bool, Source | None]:
        """Whether the answer is known without the database, and the answer."""
        with self._lock:
            # not `in` first: the entry may expire in between
            with suppress(KeyError):
                return True, self._sources[token_hash]
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
                self._sources.pop(token_hash, None)
                self._found.pop(token_hash, None)
            else:
                self._sources[token_hash] = source
                self._found[token_hash] = True
        return source
