"""API keys: create, list, revoke and check. A key is `mm_<key id>_<secret>`; only a hash of the whole key is stored."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from cachetools import TTLCache
from psycopg.rows import class_row

from api.auth.principal import SCOPES, Principal
from api.db.connection import connect
from api.db.pool import ConnectionPool
from api.errors import ApiError, MailmartError
from api.settings import Settings

LOG = logging.getLogger(__name__)
CACHE_TTL_SECONDS = 1.0
MAX_CACHED_KEYS = 10_000
# `last_used_at` is written at most once in so many seconds for each key
USE_INTERVAL_SECONDS = 60.0
# how long a key counts as one that was valid
VALID_SECONDS = 3600.0
KEY_PREFIX = "mm_"
KEY_PATTERN = re.compile(r"mm_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class StoredKey:
    """A key as the database stores it: everything except the secret."""

    key_id: str
    workspace_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @property
    def state(self) -> str:
        """active, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= datetime.now(UTC):
            return "expired"
        return "active"


def create_key(
    settings: Settings,
    workspace_id: str,
    *,
    name: str,
    scopes: Sequence[str] = ("read",),
    expires_at: datetime | None = None,
) -> str:
    """Creates a key for a workspace. The returned key cannot be read again.

    Raises:
        MailmartError: the workspace is empty, a scope is unknown, or the expiry is in the past.
    """
    if not workspace_id.strip():
        raise MailmartError("the workspace is empty", hint="A key belongs to one workspace.")
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        problem = f"unknown scope: {', '.join(unknown)}" if unknown else "no scope"
        raise MailmartError(problem, hint=f"Scopes are {', '.join(SCOPES)}.")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise MailmartError(f"the expiry {expires_at.isoformat()} is in the past", hint="Set an expiry in the future.")
    key_id = secrets.token_hex(6)
    key = f"{KEY_PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            "insert into app.api_keys (key_id, key_hash, workspace_id, name, scopes, expires_at) values (%s, %s, %s, %s, %s, %s)",
            (key_id, _hash(key), workspace_id, name, list(scopes), expires_at),
        )
    return key


def list_keys(settings: Settings, workspace_id: str | None = None) -> list[StoredKey]:
    """All keys, or those of a workspace, oldest first."""
    with (
        connect(settings, "mailmart_owner") as connection,
        connection.cursor(row_factory=class_row(StoredKey)) as cursor,
    ):
        return cursor.execute(
            "select key_id, workspace_id, name, scopes, created_at, expires_at, revoked_at, last_used_at"
            " from app.api_keys where %(workspace)s::text is null or workspace_id = %(workspace)s order by created_at",
            {"workspace": workspace_id},
        ).fetchall()


def revoke_key(settings: Settings, key_id: str) -> None:
    """Revokes a key. Servers may accept it for one more second, from their cache.

    Raises:
        MailmartError: no key has this id, or it is revoked already.
    """
    with connect(settings, "mailmart_owner") as connection:
        revoked = connection.execute(
            "update app.api_keys set revoked_at = clock_timestamp() where key_id = %s and revoked_at is null", (key_id,)
        )
    if revoked.rowcount == 0:
        raise MailmartError(f"no active key {key_id}", hint="`mailmart keys list` shows the ids.")


@dataclass(frozen=True)
class _KeyRecord:
    principal: Principal
    expires_at: datetime | None


class ApiKeyStore:
    """Checks API keys. Each key's record is cached for a second, and so is the fact that a key is unknown.

    Keys are looked up by their hashes, in a function of the database that returns one key: the API's role cannot list them.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._records: TTLCache[bytes, _KeyRecord | None] = TTLCache(MAX_CACHED_KEYS, CACHE_TTL_SECONDS)
        self._valid_hashes: TTLCache[bytes, bool] = TTLCache(MAX_CACHED_KEYS, VALID_SECONDS)
        self._recently_used: TTLCache[bytes, bool] = TTLCache(MAX_CACHED_KEYS, USE_INTERVAL_SECONDS)
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(1, "key-use")

    def authenticate(self, key: str) -> Principal | None:
        """The principal of a key; None if the key is unknown, expired or revoked.

        Raises:
            WarehouseUnavailable: the database is unavailable.
        """
        if KEY_PATTERN.fullmatch(key) is None:
            return None
        key_hash = _hash(key)
        record = self._record(key_hash)
        return None if record is None else self._principal(key_hash, record)

    def find_cached(self, key: str) -> Principal | None:
        """The principal of a key that was valid within the last second; None if the database has to be queried. Never waits."""
        if KEY_PATTERN.fullmatch(key) is None:
            return None
        key_hash = _hash(key)
        record = None
        with self._lock, suppress(KeyError):
            record = self._records[key_hash]
        return None if record is None else self._principal(key_hash, record)

    def was_valid(self, key: str) -> bool:
        """Whether the key was valid within the last hour, in this process."""
        with self._lock:
            return _hash(key) in self._valid_hashes

    def close(self) -> None:
        """Waits until the last uses are written."""
        self._executor.shutdown()

    def _principal(self, key_hash: bytes, record: _KeyRecord) -> Principal | None:
        if record.expires_at is not None and record.expires_at <= datetime.now(UTC):
            return None
        self._record_use(key_hash)
        return record.principal

    def _record(self, key_hash: bytes) -> _KeyRecord | None:
        with self._lock, suppress(KeyError):
            # not `in` or get() first: the entry may expire in between
            return self._records[key_hash]
        record = self._read(key_hash)
        with self._lock:
            self._records[key_hash] = record
        return record

    def _read(self, key_hash: bytes) -> _KeyRecord | None:
        def read(connection: psycopg.Connection) -> _KeyRecord | None:
            row = connection.execute("select * from app.find_api_key(%s)", (key_hash,)).fetchone()
            return None if row is None else _KeyRecord(Principal(row[0], frozenset(row[1])), row[2])

        return self._pool.execute(read)

    def _record_use(self, key_hash: bytes) -> None:
        with self._lock:
            if key_hash in self._recently_used:
                return
            self._recently_used[key_hash] = True
            self._valid_hashes[key_hash] = True
        # in the background: it must neither delay the request nor fail it
        self._executor.submit(self._write_use, key_hash)

    def _write_use(self, key_hash: bytes) -> None:
        try:
            self._pool.execute(lambda connection: connection.execute("select app.note_api_key_use(%s)", (key_hash,)))
        except (ApiError, psycopg.Error) as error:
            LOG.warning("cannot write last_used_at of a key: %s", error)


def _hash(key: str) -> bytes:
    # the key has 256 random bits: a salt or key stretching would gain nothing
    return hashlib.sha256(key.encode()).digest()
