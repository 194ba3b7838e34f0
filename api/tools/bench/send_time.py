"""How often the mart optimal_send_time names an hour of the week: over mail without a pattern, and with one.

The mart reads counts by quarter of an hour. So counts are drawn and written to its table, and no message is: 1 million messages
are some 700 rows. Each seed is a workspace, and one query answers all of them.
"""

from __future__ import annotations

import random
from calendar import day_name
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate

from psycopg import Connection

from api.db.connection import connect
from api.settings import Settings
from api.tools.bench.scratch import scratch_servers
from api.tools.demo.build import build
from api.tools.synthetic import distributions as like

OPEN_ENDED = 2**63 - 1
DAYS = 31
# in the generator's zone, UTC: the busiest hours are from 9 to 11
BETTER_WEEKDAY, BETTER_HOUR = 1, 10
LIFT = 1.5

Counts = dict[tuple[date, int], dict[str, int]]


@dataclass(frozen=True)
class Pattern:
    """Which mail has LIFT times the engagement: none, that of an hour of each day, or that of one hour of the week."""

    name: str
    weekdays: frozenset[int] = frozenset()

    def factor(self, day: date, hour: int) -> float:
        """Of a date and hour."""
        return LIFT if hour == BETTER_HOUR and day.weekday() in self.weekdays else 1.0


FLAT = Pattern("no pattern")
EACH_DAY = Pattern("10:00, each day", frozenset(range(7)))
TUESDAY = Pattern("Tuesday 10:00", frozenset((BETTER_WEEKDAY,)))


@dataclass(frozen=True)
class Named:
    """Of `seeds` draws: in how many an hour was named, and one of the better ones; and in how many there was too little data."""

    pattern: Pattern
    messages: int
    seeds: int
    named: int
    right: int
    too_little_data: int


def bench_send_time(
    settings: Settings, sizes: Mapping[Pattern, Sequence[int]], seeds: int, progress: Callable[[str], None]
) -> Iterator[Named]:
    """Measures on a server of its own, and removes it.

    Raises:
        MailmartError: the build fails.
    """
    with scratch_servers(settings) as scratch:
        progress("dbt build of an empty warehouse")
        build(scratch)
        with connect(scratch, "mailmart_owner") as connection:
            for pattern, messages_of_seed in sizes.items():
                for messages in messages_of_seed:
                    progress(f"{pattern.name}, {messages:,} messages, {seeds} seeds")
                    yield measure(connection, pattern, messages, seeds)


def measure(connection: Connection, pattern: Pattern, messages: int, seeds: int) -> Named:
    """Draws `seeds` workspaces, and asks the mart. Nothing is committed."""
    until = datetime.now(UTC).date()
    draws = {f"w{seed}": draw_counts(random.Random(seed), messages, until, pattern) for seed in range(seeds)}  # noqa: S311 - synthetic data
    write_counts(connection, draws)
    rows = connection.execute("select day_of_week, hour, optimal_send_time_reason from marts.optimal_send_time").fetchall()
    connection.rollback()
    found = [(list(day_name).index(weekday), hour) for weekday, hour, reason in rows if reason is None]
    return Named(
        pattern,
        messages,
        len(rows),
        len(found),
        sum(hour == BETTER_HOUR and weekday in pattern.weekdays for weekday, hour in found),
        sum(reason == "TOO_LITTLE_DATA" for *_, reason in rows),
    )


def draw_counts(chance: random.Random, messages: int, until: date, pattern: Pattern, days: int = DAYS) -> Counts:
    """Counts by date and hour (UTC) of the last `days`, distributed as `mailmart generate` distributes its mail."""
    cells = [(until - timedelta(days=back), hour) for back in range(days) for hour in range(24)]
    weights = [like.WEEKDAYS[day.weekday()] * like.HOURS[hour] for day, hour in cells]
    rest_of_weights = [sum(weights) - before for before in accumulate([0.0, *weights[:-1]])]
    delivered = 1 - like.REJECTED - like.BOUNCED
    counts: Counts = {}
    left = messages
    for (day, hour), weight, rest in zip(cells, weights, rest_of_weights, strict=True):
        sent = binomial(chance, left, min(weight / rest, 1.0))
        left -= sent
        if not sent:
            continue
        factor = pattern.factor(day, hour)
        opened = binomial(chance, sent, min(delivered * (like.OPENED + like.CLICKED_UNSEEN) * factor, 1.0))
        counts[day, hour] = {
            "sent": sent,
            "opened": opened,
            "clicked": binomial(chance, opened, like.CLICKED / (like.OPENED + like.CLICKED_UNSEEN)),
            "replied": binomial(chance, sent, min(delivered * like.REPLIED * factor, 1.0)),
        }
    return counts


def binomial(chance: random.Random, trials: int, probability: float) -> int:
    """A binomial number, exactly distributed; in steps that halve the trials (by the median of as many uniform numbers)."""
    successes = 0
    while trials > 32:
        middle = (trials + 1) // 2
        median = chance.betavariate(middle, trials + 1 - middle)
        if median <= probability:
            successes += middle
            trials -= middle
            probability = (probability - median) / (1 - median)
        else:
            trials = middle - 1
            probability /= median
    return successes + sum(chance.random() < probability for _ in range(trials))


def write_counts(connection: Connection, draws: Mapping[str, Counts]) -> None:
    """Writes each workspace's counts, and the workspace, to core."""
    with connection.cursor() as cursor:
        with cursor.copy(
            "copy core.dim_workspaces (workspace_id, workspace_name, timezone, valid_from, valid_to) from stdin"
        ) as copy:
            for workspace in draws:
                copy.write_row((workspace, workspace, "UTC", 1, OPEN_ENDED))
        with cursor.copy(
            "copy core.fct_workspace_hours (workspace_id, hour_at, sent, opened, clicked, replied, slots, valid_from, valid_to)"
            " from stdin"
        ) as copy:
            for workspace, counts in draws.items():
                for (day, hour), count in counts.items():
                    moment = datetime.combine(day, time(hour), UTC)
                    numbers = (count[name] for name in ("sent", "opened", "clicked", "replied"))
                    copy.write_row((workspace, moment, *numbers, 1, 1, OPEN_ENDED))
    # within the transaction: autovacuum does not see the rows
    connection.execute("analyze core.dim_workspaces, core.fct_workspace_hours")
