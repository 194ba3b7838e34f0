"""One timer for the time limits of many waits."""

from __future__ import annotations

import asyncio

import pytest

from api.errors import RequestTimeout
from api.server.deadlines import Deadlines


async def value(result: str, seconds: float = 0) -> str:
    await asyncio.sleep(seconds)
    return result


def test_what_comes_in_time_is_returned_and_what_does_not_is_canceled() -> None:
    async def main() -> None:
        deadlines = Deadlines(0.05)
        assert await deadlines.wait_for(value("first")) == "first"
        waiting = [asyncio.ensure_future(deadlines.wait_for(value("late", 60))) for _ in range(3)]
        results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)
        assert [type(result) for result in results] == [RequestTimeout] * 3
        # the same task can wait again
        assert await deadlines.wait_for(value("second")) == "second"

    asyncio.run(main())


def test_a_task_that_is_canceled_has_not_timed_out() -> None:
    async def main() -> None:
        deadlines = Deadlines(3600)
        waiting = asyncio.ensure_future(deadlines.wait_for(value("late", 60)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())


def test_an_error_stays_what_it_is() -> None:
    async def fail() -> None:
        raise ValueError("of its own")

    async def main() -> None:
        with pytest.raises(ValueError, match="of its own"):
            await Deadlines(3600).wait_for(fail())

    asyncio.run(main())
