"""Which deliveries share a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from api.auth.rate_limit import RateLimiter
from api.errors import RateLimitExceeded
from api.intake.source_counts import SourceCounts
from api.intake.writer import MAX_BATCH_BODIES, MAX_BATCH_CHARACTERS, Body, Delivery, Writer
from api.settings import Settings


class Recording(Writer):
    """A writer without a database, that remembers its transactions."""

    def __init__(self) -> None:
        settings = Settings(database_url=None, redis_url=None, home=Path("unused"))
        super().__init__(settings, SourceCounts(), RateLimiter(settings))
        self.batches: list[int] = []

    def _store_once(self, entries: Sequence[Any]) -> list[tuple[int, str, str]]:
        self.batches.append(len(entries))
        return []


def delivery(bodies: int, text: str = "{}") -> Delivery:
    return Delivery([Body("s1", text)] * bodies)


@pytest.mark.parametrize(
    ("deliveries", "batches"),
    [
        ([delivery(1), delivery(MAX_BATCH_BODIES - 1), delivery(1)], [MAX_BATCH_BODIES, 1]),
        # one that is larger than a batch makes none of the others late, and fails none of them
        ([delivery(1), delivery(MAX_BATCH_BODIES + 1), delivery(1)], [1, MAX_BATCH_BODIES + 1, 1]),
        ([delivery(1), delivery(1, "x" * MAX_BATCH_CHARACTERS), delivery(1)], [1, 1, 1]),
    ],
)
def test_a_batch_has_bounds(deliveries: list[Delivery], batches: list[int]) -> None:
    writer = Recording()
    for one in deliveries:
        writer.add(one)
    for one in deliveries:
        assert writer.finish(one) == []
    assert writer.batches == batches


def test_requests_above_the_rate_are_refused_and_the_others_stored() -> None:
    """Those of one batch are counted together, each source by itself; here without Valkey, by the process alone."""
    writer = Recording()
    limited = [Delivery([Body("s1", "{}")], requests_per_minute=3) for _ in range(5)]
    other = Delivery([Body("s2", "{}")], requests_per_minute=1)
    uncounted = Delivery([Body("s1", "{}", "unreadable_body", "why")])
    for one in (*limited, other, uncounted):
        writer.add(one)
    for one in (*limited[:3], other, uncounted):
        assert writer.finish(one) == []
    for one in limited[3:]:
        with pytest.raises(RateLimitExceeded):
            writer.finish(one)
    assert writer.batches == [5]
    # a batch of which nothing is left needs no transaction
    writer.add(again := Delivery([Body("s2", "{}")], requests_per_minute=1))
    with pytest.raises(RateLimitExceeded):
        writer.finish(again)
    assert writer.batches == [5]
