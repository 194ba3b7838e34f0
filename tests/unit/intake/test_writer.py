"""Which deliveries share a transaction, and which are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from api.auth.rate_limit import RateLimiter
from api.errors import RateLimitExceeded
from api.intake import writer as writer_module
from api.intake.batch_store import Body, Permission
from api.intake.source_counts import SourceCounts
from api.intake.writer import MAX_BATCH_BODIES, MAX_BATCH_CHARACTERS, MIN_CHARACTERS_FOR_ANOTHER, Delivery, Rejection, Writer
from api.settings import Settings


class Recording:
    """A store without a database, that remembers its transactions, and takes its time."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.is_released = asyncio.Event()
        self.is_released.set()

    async def store(
        self, bodies: Sequence[Body], *, reconnect_seconds: float, permission: Permission | None = None
    ) -> list[tuple[int, str, str]] | None:
        if permission is not None and not await permission():
            return None
        self.batches.append(len(bodies))
        await self.is_released.wait()
        return []

    def close(self) -> None:
        pass


def make_writer(*stores: Recording) -> Writer:
    # without Valkey: the process counts alone
    settings = Settings(database_url=None, redis_url=None, home=Path("unused"))
    return Writer(stores, SourceCounts(), RateLimiter(settings))


def delivery(bodies: int, text: str = "{}") -> Delivery:
    return Delivery([Body("s1", text)] * bodies)


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([(1, "{}"), (MAX_BATCH_BODIES - 1, "{}"), (1, "{}")], [MAX_BATCH_BODIES, 1]),
        # one that is larger than a batch makes none of the others late, and fails none of them
        ([(1, "{}"), (MAX_BATCH_BODIES + 1, "{}"), (1, "{}")], [1, MAX_BATCH_BODIES + 1, 1]),
        ([(1, "{}"), (1, "x" * MAX_BATCH_CHARACTERS), (1, "{}")], [1, 1, 1]),
    ],
)
def test_a_batch_has_bounds(sizes: list[tuple[int, str]], batches: list[int]) -> None:
    async def main() -> None:
        store = Recording()
        writer = make_writer(store)
        results = await asyncio.gather(*[writer.store(delivery(*size)) for size in sizes])
        assert [list(result) for result in results] == [[]] * len(sizes)
        assert store.batches == batches

    asyncio.run(main())


def test_a_second_connection_is_for_much_text() -> None:
    """Small bodies cost less if they share a transaction, so they wait for the one before."""

    async def main() -> None:
        busy, idle = Recording(), Recording()
        busy.is_released.clear()
        writer = make_writer(idle, busy)
        waiting = [asyncio.ensure_future(writer.store(delivery(1))) for _ in range(3)]
        await asyncio.sleep(0.01)
        waiting += [asyncio.ensure_future(writer.store(delivery(2))) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert (busy.batches, idle.batches) == ([3], [])
        waiting.append(asyncio.ensure_future(writer.store(delivery(1, "x" * MIN_CHARACTERS_FOR_ANOTHER))))
        await asyncio.sleep(0.01)
        assert (busy.batches, idle.batches) == ([3], [7])
        busy.is_released.set()
        assert [list(result) for result in await asyncio.gather(*waiting)] == [[]] * 7

    asyncio.run(main())


@pytest.mark.parametrize(("seconds", "comes_again"), [(3600.0, 3), (0.01, 2)], ids=["all come again", "one does not"])
def test_a_batch_waits_for_as_many_as_came_together_before(
    monkeypatch: pytest.MonkeyPatch, seconds: float, comes_again: int
) -> None:
    """Larger batches cost less. One that comes alone does not wait."""
    monkeypatch.setattr(writer_module, "MAX_GATHER_SECONDS", seconds)

    async def main() -> None:
        recording = Recording()
        writer = make_writer(recording)
        # nothing was concurrent yet
        await writer.store(delivery(1))
        await writer.store(delivery(1))
        await asyncio.gather(*[writer.store(delivery(1)) for _ in range(3)])
        waiting = []
        for _ in range(comes_again):
            waiting.append(asyncio.ensure_future(writer.store(delivery(1))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        assert recording.batches == [1, 1, 3, comes_again]

    asyncio.run(asyncio.wait_for(main(), 20))


def test_much_text_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_GATHER_SECONDS", 3600.0)

    async def main() -> None:
        recording = Recording()
        writer = make_writer(recording)
        await asyncio.gather(*[writer.store(delivery(1)) for _ in range(5)])
        waiting = asyncio.ensure_future(writer.store(delivery(1)))
        await asyncio.sleep(0.01)
        assert recording.batches == [5]
        await asyncio.gather(waiting, writer.store(delivery(1, "x" * MIN_CHARACTERS_FOR_ANOTHER)))
        assert recording.batches == [5, 2]

    asyncio.run(asyncio.wait_for(main(), 20))


def test_requests_above_the_rate_are_refused_and_the_others_stored() -> None:
    """Those that come together are counted together, each source by itself."""

    async def store(writer: Writer, one: Delivery) -> list[Rejection] | type[BaseException]:
        try:
            return list(await writer.store(one))
        except RateLimitExceeded as error:
            return type(error)

    async def main() -> None:
        recording = Recording()
        writer = make_writer(recording)
        limited = [Delivery([Body("s1", "{}")], requests_per_minute=3) for _ in range(5)]
        other = Delivery([Body("s2", "{}")], requests_per_minute=1)
        uncounted = Delivery([Body("s1", "{}", "unreadable_body", "why")])
        results = await asyncio.gather(*[store(writer, one) for one in (*limited, other, uncounted)])
        assert results == [[], [], [], RateLimitExceeded, RateLimitExceeded, [], []]
        assert sum(recording.batches) == 5
        # a batch of which nothing is left needs no transaction
        again = Delivery([Body("s2", "{}")], requests_per_minute=1)
        assert await store(writer, again) is RateLimitExceeded
        assert sum(recording.batches) == 5

    asyncio.run(main())


def test_a_client_that_hangs_up_ends_nobody_elses_request() -> None:
    async def main() -> None:
        recording = Recording()
        recording.is_released.clear()
        writer = make_writer(recording)
        waiting = [asyncio.ensure_future(writer.store(delivery(1))) for _ in range(3)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        recording.is_released.set()
        assert [list(result) for result in await asyncio.gather(*waiting[1:])] == [[], []]
        assert recording.batches == [3]

    asyncio.run(main())
