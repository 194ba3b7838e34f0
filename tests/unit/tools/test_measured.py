"""The statistics of benchmarks."""

from __future__ import annotations

import pytest

from api.tools.bench.measured import Measured, median_ratio, medians, percentile, summary
from api.tools.bench.pgbench import summary_of_log


@pytest.mark.parametrize(
    ("count", "share", "value"),
    [(1, 0.5, 1), (1, 0.99, 1), (2, 0.5, 1), (3, 0.5, 2), (99, 0.99, 99), (100, 0.99, 99), (101, 0.99, 100), (100, 0.07, 7)],
)
def test_a_percentile_is_not_exceeded_by_that_share(count: int, share: float, value: int) -> None:
    assert percentile(range(1, count + 1), share) == value


def test_times_become_a_rate_and_milliseconds() -> None:
    assert summary([3_000_000, 1_000_000, 2_000_000], 0.5) == Measured(6.0, 2.0, 3.0)


def test_rounds_are_compared_one_by_one() -> None:
    assert medians([Measured(1, 9, 5), Measured(3, 7, 5), Measured(2, 8, 6)]) == Measured(2, 8, 5)
    # in the second round, the machine did something else, too
    assert median_ratio([100, 10, 100], [50, 5, 40]) == 2


def test_pgbench_counts_what_ended_after_the_warm_up() -> None:
    log = "".join(f"0 {number} 500000 0 {number // 2 + 100} {number % 2 * 500000}\n" for number in range(1, 9))
    # it began at 100.0; of the second that begins at 101.0, the transactions that ended at 101.0 and 101.5
    assert summary_of_log(log, seconds=1.0, warm_up=1.0) == Measured(2.0, 500.0, 500.0)


def test_clients_of_pgbench_whose_transactions_are_longer_than_the_measurement_run_at_the_same_time() -> None:
    log = "0 1 4000000 0 104 0\n1 1 4000000 0 104 0\n1 2 4000000 0 108 0\n"
    assert summary_of_log(log, seconds=1.0, warm_up=1.0) == Measured(0.5, 4000.0, 4000.0)
