"""What a measurement of requests or transactions gives, and the statistics of several."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Measured:
    """Responses a second, and the 50th and 99th percentile of their times in milliseconds."""

    rate: float
    p50: float
    p99: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of these sorted values that a share of them does not exceed. There is at least one."""
    # to 9 digits: a product such as 0.07 * 100 is not exact
    return ordered[max(math.ceil(round(len(ordered) * share, 9)) - 1, 0)]


def summary(nanoseconds: Sequence[int], seconds: float) -> Measured:
    """Rate and percentiles of the times of at least one response, which all came within `seconds`."""
    ordered = sorted(nanoseconds)
    return Measured(len(ordered) / seconds, percentile(ordered, 0.5) / 1e6, percentile(ordered, 0.99) / 1e6)


def medians(rounds: Sequence[Measured]) -> Measured:
    """The median of the rounds, of each number by itself."""
    return Measured(*(median(column) for column in zip(*map(dataclasses.astuple, rounds), strict=True)))


def median_ratio(rates: Sequence[float], controls: Sequence[float]) -> float:
    """The median of the ratios to the control of the same round, which other work of the machine has slowed down as much."""
    return median(rate / control for rate, control in zip(rates, controls, strict=True))
