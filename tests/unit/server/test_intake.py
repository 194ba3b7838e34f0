"""The app of the intake, without a database: who waits for whom, and what is held in memory."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api.db.pool import ConnectionPool
from api.intake import source_store
from api.intake.source_store import SourceStore
from api.intake.tokens import hash_token
from api.server.intake import IntakeApp
from api.settings import Settings
from tests.support.exchanges import Client

KNOWN = f"{'0' * 12}_{'k' * 43}"
OTHER = f"{'1' * 12}_{'k' * 43}"
TOO_MANY = "Too many bodies wait to be stored; send the webhook again."


class Lookups:
    """In place of a pool and its connections: has two sources; the lookups of other tokens last until they are released."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.is_released = threading.Event()

    def execute(self, work: Any, params: tuple[bytes] | None = None) -> Any:
        if params is None:
            return work(self)
        self.asked.append(params[0])
        sources: dict[bytes, tuple[Any, ...]] = {
            hash_token(token): (token[:12], f"ws_{token[:12]}", "sendgrid", 1000, []) for token in (KNOWN, OTHER)
        }
        if params[0] in sources:
            return SimpleNamespace(fetchone=lambda: sources[params[0]])
        self.is_released.wait(20)
        return SimpleNamespace(fetchone=lambda: None)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> IntakeApp:
    # it connects to nothing
    monkeypatch.setattr(ConnectionPool, "open", lambda self: None)
    return IntakeApp(Settings(database_url=None, redis_url=None, home=Path("unused")))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[IntakeApp]:
    """One that holds 40,000 bytes."""
    monkeypatch.setattr(ConnectionPool, "open", lambda self: None)
    app = IntakeApp(Settings(database_url=None, redis_url=None, home=Path("unused")), max_held_bytes=40_000)
    found = Lookups()
    monkeypatch.setattr(app, "_sources", SourceStore(found))  # type: ignore[arg-type]
    yield app
    found.is_released.set()


@pytest.fixture
def lookups(app: IntakeApp, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lookups]:
    found = Lookups()
    monkeypatch.setattr(app, "_sources", SourceStore(found))  # type: ignore[arg-type]
    yield found
    found.is_released.set()


async def request(
    app: IntakeApp, token: str, method: str = "GET", body: bytes = b"", encoding: str = "", *, is_complete: bool = True
) -> tuple[int, Any]:
    """The status and the body of the response. A body that is not complete never is."""
    client = Client(f"/intake/sendgrid/{token}", method, {"content-encoding": encoding}, [body], is_complete=is_complete)
    await client.send(app)
    return client.status, client.content


def stranger(number: int) -> str:
    return f"{number:012}_{'s' * 43}"


def test_unknown_tokens_delay_no_source(app: IntakeApp, lookups: Lookups, monkeypatch: pytest.MonkeyPatch) -> None:
    # as if each request came a second after the one before
    monkeypatch.setattr(source_store, "CACHE_TTL_SECONDS", 0.0)
    monkeypatch.setattr(app, "_sources", SourceStore(lookups))  # type: ignore[arg-type]

    async def main() -> None:
        assert (await request(app, KNOWN))[0] == 200
        flood = [asyncio.ensure_future(request(app, stranger(number))) for number in range(50)]
        await asyncio.sleep(0)
        for _ in range(3):
            assert (await asyncio.wait_for(request(app, KNOWN), 10))[0] == 200
        assert not any(one.done() for one in flood)
        lookups.is_released.set()
        assert {status for status, _ in await asyncio.gather(*flood)} == {404}

    asyncio.run(main())
    assert lookups.asked.count(hash_token(KNOWN)) == 4


def test_a_token_is_looked_up_once_at_a_time(app: IntakeApp, lookups: Lookups) -> None:
    async def main() -> None:
        same = [asyncio.ensure_future(request(app, stranger(1))) for _ in range(20)]
        while not lookups.asked:
            await asyncio.sleep(0.01)
        # a client that hangs up ends the lookup for nobody else
        same.pop().cancel()
        lookups.is_released.set()
        assert [status for status, _ in await asyncio.gather(*same)] == [404] * 19

    asyncio.run(main())
    assert len(lookups.asked) == 1


def test_misses_push_no_source_out_of_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_store, "MAX_CACHED_SOURCES", 10)
    found = Lookups()
    found.is_released.set()
    sources = SourceStore(found)  # type: ignore[arg-type]
    sources.find(hash_token(KNOWN))
    for number in range(20):
        assert sources.find(hash_token(stranger(number))) is None
    assert sources.cached(hash_token(KNOWN))[1] is not None
    assert sources.cached(hash_token(stranger(19))) == (True, None)
    assert sources.was_found(hash_token(KNOWN))
    assert not sources.was_found(hash_token(stranger(19)))


def test_what_a_body_is_decompressed_to_is_held(small: IntakeApp) -> None:
    body = gzip.compress(b'["' + b"x" * 20_000 + b'"]')
    assert len(body) < 1000
    status, answer = asyncio.run(request(small, KNOWN, "POST", body, "gzip"))
    assert (status, answer["error"]["message"]) == (503, TOO_MANY)


def test_a_workspace_holds_a_part_of_the_bytes(small: IntakeApp) -> None:
    """Bodies of one source that do not end use up no memory of another workspace's."""

    async def main() -> None:
        trickling = [asyncio.ensure_future(request(small, KNOWN, "POST", b"x" * 4000, is_complete=False)) for _ in range(3)]
        status, answer = await asyncio.wait_for(trickling[2], 10)
        assert (status, answer["error"]["message"]) == (503, TOO_MANY)
        assert not any(one.done() for one in trickling[:2])
        other = asyncio.ensure_future(request(small, OTHER, "POST", b"x" * 4000, is_complete=False))
        await asyncio.wait([other], timeout=0.1)
        assert not other.done()
        for one in (*trickling, other):
            one.cancel()
        await asyncio.gather(*trickling, other, return_exceptions=True)
        # what was held is released
        assert (await request(small, KNOWN, "POST", b"x" * 11_000))[0] == 503
        last = asyncio.ensure_future(request(small, KNOWN, "POST", b"x" * 9000, is_complete=False))
        await asyncio.wait([last], timeout=0.1)
        assert not last.done()
        last.cancel()

    asyncio.run(main())
