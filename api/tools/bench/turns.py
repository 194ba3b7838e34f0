"""Measurements in turns: other load of the machine then affects all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from api.tools.bench.measured import Measured

K = TypeVar("K")


def measure_in_turns(
    measurements: Mapping[K, Callable[[int], Measured]],
    connections: Sequence[int],
    rounds: int,
    progress: Callable[[str], None],
) -> dict[tuple[K, int], list[Measured]]:
    """What `rounds` rounds of all measurements gave, by their keys and the number of connections."""
    results: dict[tuple[K, int], list[Measured]] = defaultdict(list)
    for number in connections:
        for turn in range(rounds):
            progress(f"{number} connections, round {turn + 1} of {rounds}")
            for key, measurement in measurements.items():
                results[key, number].append(measurement(number))
    return dict(results)
