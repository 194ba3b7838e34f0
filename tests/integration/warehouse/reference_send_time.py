"""The best hour of the week to send, in plain Python over counts: written from the definition, with priors in messages."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple, TypeVar

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# the 97.5th percentile of the normal distribution, as the definition rounds it
Z = 1.959964
# engaged messages that a group needs to be expected to have, if a message is engaged or not, for an effect of its own
MIN_EXPECTED = 5
# the z-score that a true difference of one half needs to have in the busiest hour of the day
MIN_POWER = 4
Key = TypeVar("Key", bound=Hashable)


class Mail(NamedTuple):
    """Mail of a date and hour, or of any group of them: messages, and the sum of their scores, 0 to 1 each."""

    sent: float = 0
    engaged: float = 0


class Effect(NamedTuple):
    """What a group adds to the score of its messages, and the posterior variance of that."""

    mean: float
    variance: float


def best_send_time(counts: Mapping[tuple[date, int], Mapping[str, int]]) -> dict[str, Any]:
    """The row of the mart, for counts by local date and hour; hours without mail may be missing."""
    counts = {slot: count for slot, count in counts.items() if count["sent"]}
    best, reason = _best(counts)
    return {
        "day_of_week": None,
        "hour": None,
        "engagement_score": None,
        "emails_sent": None,
        "estimated_score": None,
        "low": None,
        "high": None,
        "lift": None,
        **best,
        "optimal_send_time_reason": reason,
    }


def _best(counts: Mapping[tuple[date, int], Mapping[str, int]]) -> tuple[dict[str, Any], str | None]:
    hours = {slot: Mail(count["sent"], _engaged(count)) for slot, count in counts.items()}
    total = _sum(hours.values())
    if not total.engaged:
        return {}, "TOO_LITTLE_DATA"
    overall = total.engaged / total.sent
    variance = min(_mean_square(counts.values()) - overall**2, overall * (1 - overall))
    if variance <= 0:
        return {}, "TOO_LITTLE_DATA"

    cells = _grouped(hours, lambda slot: (slot[0].weekday(), slot[1]))
    dates = _grouped(hours, lambda slot: slot[0])
    of_cells = variance * _overdispersion(_squares(hours), len(hours), _squares(cells), len(cells), variance)
    weekdays = _grouped(dates, lambda day: day.weekday())
    of_weekdays = max(
        of_cells, variance * _overdispersion(_squares(dates), len(dates), _squares(weekdays), len(weekdays), variance)
    )

    alone = _effects(cells, lambda cell: cell[1], lambda cell: overall, of_cells, overall)
    by_weekday = _effects(cells, lambda cell: cell[0], lambda cell: overall + alone[cell[1]].mean, of_weekdays, overall)
    by_hour = _effects(cells, lambda cell: cell[1], lambda cell: overall + by_weekday[cell[0]].mean, of_cells, overall)

    def additive(cell: tuple[int, int]) -> float:
        return overall + by_weekday[cell[0]].mean + by_hour[cell[1]].mean

    measured = _measured(cells, overall, of_cells)
    freedom = len(measured) - len({weekday for weekday, _ in measured}) - len({hour for _, hour in measured}) + 1
    strength = _prior_strength(measured, {cell: mail.sent * additive(cell) for cell, mail in cells.items()}, of_cells, freedom)

    def interval(cell: tuple[int, int]) -> tuple[float, float, float]:
        own = _effect(cells[cell], cells[cell].sent * additive(cell), strength, of_cells)
        weight = 0 if math.isinf(strength) else cells[cell].sent / (cells[cell].sent + strength)
        if cell not in measured:
            own, weight = Effect(0, own.variance), 0
        estimate = min(max(additive(cell) + own.mean, 0), 1)
        spread = (1 - weight) ** 2 * (by_weekday[cell[0]].variance + by_hour[cell[1]].variance) + own.variance
        half = Z * math.sqrt(spread * estimate * (1 - estimate) / (overall * (1 - overall)))
        return estimate - half, estimate, estimate + half

    cell = min(cells, key=lambda cell: (-round(interval(cell)[0], 12), -cells[cell].sent, cell))
    low, estimate, high = interval(cell)
    if round(max(low, 0), 12) > round(overall, 12):
        return {
            "day_of_week": WEEKDAYS[cell[0]],
            "hour": cell[1],
            "engagement_score": _percent(cells[cell].engaged / cells[cell].sent),
            "emails_sent": int(cells[cell].sent),
            "estimated_score": _percent(estimate),
            "low": _percent(low),
            "high": _percent(min(high, 1)),
            "lift": _percent(estimate / overall - 1),
        }, None
    power = max(
        overall / 2 * math.sqrt(mail.sent * (1 - mail.sent / total.sent) / of_cells)
        for mail in _grouped(cells, lambda cell: cell[1]).values()
    )
    return {}, "TOO_LITTLE_DATA" if power < MIN_POWER else "NO_DIFFERENCE"


def _effects(
    cells: Mapping[tuple[int, int], Mail], key: Any, expected_score: Any, variance: float, overall: float
) -> dict[int, Effect]:
    groups = _grouped(cells, key)
    expected: dict[int, float] = defaultdict(float)
    for cell, mail in cells.items():
        expected[key(cell)] += mail.sent * expected_score(cell)
    measured = _measured(groups, overall, variance)
    strength = _prior_strength(measured, expected, variance, len(measured) - 1)
    effects = {group: _effect(mail, expected[group], strength, variance) for group, mail in groups.items()}
    return {group: effect if group in measured else Effect(0, effect.variance) for group, effect in effects.items()}


def _measured(groups: Mapping[Key, Mail], overall: float, variance: float) -> dict[Key, Mail]:
    return {group: mail for group, mail in groups.items() if mail.sent * overall**2 >= MIN_EXPECTED * variance}


def _effect(mail: Mail, expected: float, strength: float, variance: float) -> Effect:
    if math.isinf(strength):
        return Effect(0, 0)
    return Effect((mail.engaged - expected) / (mail.sent + strength), variance / (mail.sent + strength))


def _prior_strength(groups: Mapping[Key, Mail], expected: Mapping[Key, float], variance: float, freedom: int) -> float:
    """By the method of moments, in messages; infinite if the groups differ no more than chance explains."""
    if freedom <= 0:
        return math.inf
    excess = sum((mail.engaged - expected[group]) ** 2 / mail.sent for group, mail in groups.items()) / variance - freedom
    sent = sum(mail.sent for mail in groups.values())
    return (sent - sum(mail.sent**2 for mail in groups.values()) / sent) / excess if excess > 0 else math.inf


def _overdispersion(within: float, replicates: int, between: float, groups: int, variance: float) -> float:
    """How many times more replicates of a group vary than independent messages would; at least 1."""
    return max(1.0, (within - between) / (replicates - groups) / variance) if replicates > groups else 1.0


def _mean_square(counts: Iterable[Mapping[str, int]]) -> float:
    """The mean of the messages' squared scores, if as many of those replied to as possible were opened and clicked."""
    sent, opened, clicked, replied = (sum(count[name] for count in counts) for name in ("sent", "opened", "clicked", "replied"))
    both = min(clicked, replied)
    return (0.3**2 * opened + (0.7**2 - 0.3**2) * clicked + (0.6**2 - 0.3**2) * replied + 2 * 0.4 * 0.3 * both) / sent


def _engaged(count: Mapping[str, int]) -> float:
    return (3 * count["opened"] + 4 * count["clicked"] + 3 * count["replied"]) / 10


def _squares(groups: Mapping[Key, Mail]) -> float:
    return sum(mail.engaged**2 / mail.sent for mail in groups.values())


def _grouped(mail: Mapping[Any, Mail], key: Any) -> dict[Any, Mail]:
    groups: dict[Any, list[Mail]] = defaultdict(list)
    for slot, part in mail.items():
        groups[key(slot)].append(part)
    return {group: _sum(parts) for group, parts in groups.items()}


def _sum(parts: Iterable[Mail]) -> Mail:
    parts = list(parts)
    return Mail(sum(part.sent for part in parts), sum(part.engaged for part in parts))


def _percent(share: float) -> Decimal:
    return Decimal(100 * share).quantize(Decimal("0.01"), ROUND_HALF_UP)
