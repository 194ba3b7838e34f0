"""Which fact answers a query, and why none can."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from api.analytics.query.request import Query, offset_minutes
from api.contract.semantic_layer import Fact, Metric, SemanticLayer
from api.errors import INVALID, ValidationFailed

BASIS_NAMES = {"sent": "the day of sending", "event": "the day of the event"}


def choose_fact(layer: SemanticLayer, query: Query, *, of_rows: bool = True) -> Fact:
    """The smallest fact that has all that a query needs. Without `of_rows`, for its totals.

    Raises:
        ValidationFailed: no fact has it; the error says what could be asked.
    """
    columns = {column for metric in query.metrics for column in metric.columns}
    dimensions = _dimensions(query, of_rows=of_rows)
    for fact in layer.facts:
        if fact.basis == query.basis and columns <= fact.columns and dimensions <= fact.dimensions and _has_times(fact, query):
            return fact
    raise ValidationFailed(INVALID, details={"metrics": _explanation(layer, query, dimensions)})


def _dimensions(query: Query, *, of_rows: bool) -> set[str]:
    names = {item.dimension.name for item in query.filters}
    return names | {dimension.name for dimension in query.dimensions} if of_rows else names


def _has_times(fact: Fact, query: Query) -> bool:
    """Whether the fact's times are exact enough for the query's hours, and for the days of its time zone."""
    offsets = offset_minutes(query.timezone, *query.range_of_days())
    if fact.resolution_minutes is None:
        return query.granularity != "hour" and offsets == {0}
    return all(offset % fact.resolution_minutes == 0 for offset in offsets)


def _explanation(layer: SemanticLayer, query: Query, dimensions: set[str]) -> list[str]:
    messages = [message for metric in query.metrics if (message := _why_not(layer, query, metric, dimensions))]
    if messages:
        return messages
    names = _join([metric.name for metric in query.metrics])
    return [f"{names}: each can be answered alone, but no fact has all of them. Query them one by one."]


def _why_not(layer: SemanticLayer, query: Query, metric: Metric, dimensions: set[str]) -> str:
    """Why a metric alone cannot be answered; '' if it can."""
    having = [fact for fact in layer.facts if set(metric.columns) <= fact.columns]
    facts = [fact for fact in having if fact.basis == query.basis]
    if not having:
        return f"{metric.name}: no fact has all measures that it needs."
    if not facts:
        other = having[0].basis
        return f"{metric.name} is only known by {BASIS_NAMES[other]}: set basis to {other}."
    fitting = [fact for fact in facts if dimensions <= fact.dimensions]
    if not fitting:
        possible = sorted(_union(fact.dimensions for fact in facts))
        missing = sorted(dimensions - set(possible)) or sorted(dimensions)
        at_once = "" if dimensions - set(possible) else " at once"
        by = f"by {_join(possible)}" if possible else "by time only"
        return f"{metric.name} is not known by {_join(missing)}{at_once}. It is known {by}."
    if any(_has_times(fact, query) for fact in fitting):
        return ""
    return _why_no_times(query, metric, facts, fitting, dimensions)


def _why_no_times(query: Query, metric: Metric, facts: Sequence[Fact], fitting: Sequence[Fact], dimensions: set[str]) -> str:
    asked = "by the hour" if query.granularity == "hour" else f"in the time zone {query.timezone}"
    with_hours = [fact for fact in facts if _has_times(fact, query)]
    if not with_hours:
        return f"{metric.name} is not known {asked}, only by days, weeks and months of UTC."
    possible = sorted(_union(fact.dimensions for fact in with_hours))
    by = f"by {_join(possible)}" if possible else "without dimensions and filters"
    what = f"{metric.name} by {_join(sorted(dimensions))}"
    return f"{what} is not known {asked}, only by days, weeks and months of UTC. {metric.name} is known {asked} {by}."


def _union(sets: Iterable[frozenset[str]]) -> set[str]:
    return set().union(*sets)


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
