"""API keys: made, listed, revoked, and checked. A key is `mm_<key id>_<secret>`; only the hash of the whole is stored."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg
from psycopg.rows import class_row

from api.auth.principal import SCOPES, Principal
from api.db.connection import connect
from api.db.pool import ConnectionPool
from api.errors import ApiError, MailmartError
from api.settings import Settings

LOG = logging.getLogger(__name__)
CACHE_TTL_SECONDS = 1.0
MAX_KEPT = 10_000
SECONDS_BETWEEN_USES = 60.0
SHAPE = re.compile(r"mm_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class StoredKey:
    """A key as the database has it: all but the key itself."""

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
    """Makes a key for a workspace and returns it: it can not be read again.

    Raises:
        MailmartError: the workspace, a scope or the expiry makes no key.
    """
    if not workspace_id.strip():
        raise MailmartError("the workspace is empty", hint="A key is for one workspace.")
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise MailmartError(f"no such scope: {', '.join(unknown) or 'none given'}", hint=f"There are {', '.join(SCOPES)}.")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise MailmartError(f"{expires_at.isoformat()} is over", hint="Give an expiry in the future.")
    key_id = secrets.token_hex(6)
    key = f"mm_{key_id}_{secrets.token_urlsafe(32)}"
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            "insert into app.api_keys (key_id, key_hash, workspace_id, name, scopes, expires_at) values (%s, %s, %s, %s, %s, %s)",
            (key_id, _hash(key), workspace_id, name, list(scopes), expires_at),
        )
    return key


def list_keys(settings: Settings, workspace_id: str | None = None) -> list[StoredKey]:
    """All keys, or a workspace's, oldest first."""
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
    """Ends a key, at once but for the second that servers remember it.

    Raises:
        MailmartError: there is no such key that is not revoked.
    """
    with connect(settings, "mailmart_owner") as connection:
        revoked = connection.execute(
            "update app.api_keys set revoked_at = clock_timestamp() where key_id = %s and revoked_at is null", (key_id,)
        )
    if revoked.rowcount == 0:
        raise MailmartError(f"no key {key_id} that could be revoked", hint="`mailmart keys list` shows the ids.")


@dataclass(frozen=True)
class _Known:
    key_hash: bytes
    workspace_id: str
    scopes: frozenset[str]
    expires_at: datetime | None


class ApiKeyStore:
    """Checks keys; what the database said of one is kept for a second, that it is none as well."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._kept: OrderedDict[str, tuple[float, _Known | None]] = OrderedDict()
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()
        self._notes = ThreadPoolExecutor(1, "key-use")

    def principal(self, key: str) -> Principal | None:
        """Whose key it is; None for one that is unknown, expired or revoked.

        Raises:
            WarehouseUnavailable: the database is away.
        """
        shape = SHAPE.fullmatch(key)
        if shape is None:
            return None
        key_id = shape[1]
        known = self._known(key_id)
        # something is compared in any case, so that time does not tell which ids there are
        is_right = hmac.compare_digest(_hash(key), known.key_hash if known else bytes(32))
        if known is None or not is_right:
            return None
        if known.expires_at is not None and known.expires_at <= datetime.now(UTC):
            return None
        self._note_use(key_id)
        return Principal(known.workspace_id, known.scopes)

    def close(self) -> None:
        """Writes down the last uses, and ends."""
        self._notes.shutdown()

    def _known(self, key_id: str) -> _Known | None:
        now = time.monotonic()
        with self._lock:
            kept = self._kept.get(key_id)
        if kept is not None and now - kept[0] < CACHE_TTL_SECONDS:
            return kept[1]
        found = self._ask(key_id)
        with self._lock:
            self._kept[key_id] = (now, found)
            self._kept.move_to_end(key_id)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return found

    def _ask(self, key_id: str) -> _Known | None:
        def read(connection: psycopg.Connection) -> _Known | None:
            row = connection.execute(
                "select key_hash, workspace_id, scopes, expires_at from app.api_keys where key_id = %s and revoked_at is null",
                (key_id,),
            ).fetchone()
            return None if row is None else _Known(bytes(row[0]), row[1], frozenset(row[2]), row[3])

        return self._pool.execute(read)

    def _note_use(self, key_id: str) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._used.get(key_id, -SECONDS_BETWEEN_USES) < SECONDS_BETWEEN_USES:
                return
            if len(self._used) > MAX_KEPT:
                self._used.clear()
            self._used[key_id] = now
        # not in the request's time, and never its failure
        self._notes.submit(self._write_use, key_id)

    def _write_use(self, key_id: str) -> None:
        try:
            self._pool.execute(
                lambda connection: connection.execute(
                    "update app.api_keys set last_used_at = clock_timestamp() where key_id = %s", (key_id,)
                )
            )
        except (ApiError, psycopg.Error) as error:
            LOG.warning("the use of key %s is not written down: %s", key_id, error)


def _hash(key: str) -> bytes:
    # 256 random bits: nothing to gain from a salt or from stretching
    return hashlib.sha256(key.encode()).digest()
