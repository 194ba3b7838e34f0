"""The guard, without a database: who may try how many keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.auth.failed_logins import MAX_FAILURES
from api.auth.guard import RequestGuard
from api.auth.jwt import JwtVerifier
from api.auth.principal import Principal
from api.auth.rate_limit import RateLimiter
from api.errors import TooManyFailedLogins, Unauthorized
from api.settings import Settings

ADDRESS = "203.0.113.9"


class Keys:
    """In place of the store: has one key, and counts how often it is called."""

    def __init__(self) -> None:
        self.lookups = 0

    def authenticate(self, credential: str) -> Principal | None:
        self.lookups += 1
        return Principal("ws", frozenset({"ingest"})) if credential == "mm_good" else None

    def was_valid(self, credential: str) -> bool:
        return False


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def guard(keys: Keys) -> RequestGuard:
    settings = Settings(database_url=None, redis_url=None, home=Path("unused"))
    return RequestGuard(keys, JwtVerifier(settings), RateLimiter(settings))  # type: ignore[arg-type]


def test_the_workspace_is_known_before_the_request_is_read(guard: RequestGuard) -> None:
    assert guard.workspace_of("Bearer mm_good", "ingest", address=ADDRESS) == "ws"
    assert guard.workspace_of("Bearer mm_good", "read", address=ADDRESS) is None
    for authorization in ("Bearer mm_bad", "Basic x", None):
        assert guard.workspace_of(authorization, "ingest", address=ADDRESS) is None


def test_who_guesses_keys_is_limited_before_the_request_is_read_too(guard: RequestGuard, keys: Keys) -> None:
    for _ in range(MAX_FAILURES):
        assert guard.workspace_of("Bearer mm_bad", "ingest", address=ADDRESS) is None
        with pytest.raises(Unauthorized):
            guard.authorize("Bearer mm_bad", "ws", "ingest", "events", 10, address=ADDRESS)
    lookups = keys.lookups
    # the key is valid, and nobody who guessed may find that out
    assert guard.workspace_of("Bearer mm_good", "ingest", address=ADDRESS) is None
    with pytest.raises(TooManyFailedLogins):
        guard.authorize("Bearer mm_good", "ws", "ingest", "events", 10, address=ADDRESS)
    assert keys.lookups == lookups
    assert guard.workspace_of("Bearer mm_good", "ingest", address="203.0.113.10") == "ws"
