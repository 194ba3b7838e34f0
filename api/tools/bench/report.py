"""Options and results of `mailmart bench api`: the values of all rounds, their medians and ratios."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from api.tools.bench.measured import Measured, median_ratio, medians

UNCACHED, CACHED, NOT_MODIFIED = "uncached", "cached", "304"
SQL, PREPARED, BARE = "its SQL in pgbench", "its SQL in pgbench, prepared", "bare WSGI"
STATIC_FLASK, STATIC_BARE = "static Flask route", "static bare WSGI"


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        messages: messages of one workspace with 15 campaigns.
        days: days over which they were sent.
        seconds: length of each measurement.
        rounds: rounds of all measurements, for each number of connections.
        workers: processes of the service and of each control.
        endpoints: names of endpoints; empty for all.
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
    """All results.

    Attributes:
        endpoints: names of the endpoints.
        body_bytes: size of each endpoint's response.
        without_etag: GET endpoints without an ETag, for which 304 cannot be measured.
        rounds: a value for each round, by endpoint ('' for the static routes) and label, and connections.
        processor: milliseconds of PostgreSQL's processor time of a response that is not cached, by endpoint and server; empty
            if it was not measured.
    """

    endpoints: tuple[str, ...]
    body_bytes: Mapping[str, int]
    without_etag: tuple[str, ...]
    rounds: Mapping[tuple[tuple[str, str], int], list[Measured]]
    processor: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def value(self, endpoint: str, label: str, connections: int) -> Measured | None:
        """The medians of the rounds; None if it was not measured."""
        values = self.rounds.get(((endpoint, label), connections))
        if not values:
            return None
        return medians(values)

    def ratio(self, endpoint: str, label: str, control: tuple[str, str], connections: int) -> float | None:
        """The median of the ratios to the control's rate in the same round; None if one of the two was not measured."""
        measured = self.rounds.get(((endpoint, label), connections), [])
        controls = self.rounds.get((control, connections), [])
        if not measured or not controls:
            return None
        return median_ratio([one.rate for one in measured], [one.rate for one in controls])
