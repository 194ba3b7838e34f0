"""What `mailmart bench api` measures, and how: the numbers of all rounds, and their medians."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from api.tools.bench.load import Measured

UNCACHED, CACHED, NOT_MODIFIED = "uncached", "cached", "304"
SQL, BARE = "its SQL in pgbench", "bare WSGI"
STATIC_FLASK, STATIC_BARE = "static Flask route", "static bare WSGI"


@dataclass(frozen=True)
class Options:
    """For each number of connections so many rounds of everything, each for so many seconds.

    Attributes:
        messages: of one workspace with 15 campaigns.
        days: over which they were sent.
        workers: processes of the service and of each control.
        endpoints: names; none for all.
    """

    messages: int
    days: int
    seconds: float
    rounds: int
    connections: tuple[int, ...]
    workers: int
    endpoints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything that was measured.

    Attributes:
        endpoints: their names.
        body_bytes: of each endpoint's answer.
        without_etag: those of a GET whose answer has none; there is no 304 of them.
        rounds: by endpoint ('' for the static routes), kind and connections a value for each round.
    """

    endpoints: tuple[str, ...]
    body_bytes: Mapping[str, int]
    without_etag: tuple[str, ...]
    rounds: Mapping[tuple[str, str, int], list[Measured]]

    def value(self, endpoint: str, kind: str, connections: int) -> Measured | None:
        """The medians of the rounds; None where that is not measured."""
        found = self.rounds.get((endpoint, kind, connections))
        if not found:
            return None
        return Measured(*(median(column) for column in zip(*map(dataclasses.astuple, found), strict=True)))

    def ratio(self, endpoint: str, kind: str, control: tuple[str, str], connections: int) -> float | None:
        """The median of the rates by the control's of the same round; None where one of them is not measured."""
        ours = self.rounds.get((endpoint, kind, connections), [])
        theirs = self.rounds.get((*control, connections), [])
        ratios = [one.rate / other.rate for one, other in zip(ours, theirs, strict=False)]
        return median(ratios) if ratios else None
