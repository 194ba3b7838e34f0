"""What an export of a query reads: the statements of its rows and totals, and the columns of its tables.

A query is checked when it is requested, and again when its file is written: between the two, a publication may have removed a
metric or a dimension.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import marshmallow as ma

from api.analytics.query.plan import choose_fact
from api.analytics.query.request import TIME, Query, resolve_query
from api.analytics.query.statement import metric_parts, rows_statement, totals_statement
from api.contract.exposures import Kind
from api.contract.semantic_layer import Metric, SemanticLayer
from api.errors import INVALID, ApiError, InvalidTimeRange, ValidationFailed
from api.exports.formats import Column
from api.exports.query.schemas import MAX_ROWS, query_schema
from api.web.validation_messages import flatten_messages

# fails if PostgreSQL does not know the time zone: it has its own list of them
CHECK_TIME_ZONE = "select now() at time zone (select current_setting('mailmart.timezone'))"


@dataclass(frozen=True)
class PlannedQuery:
    """A query that can be exported.

    Attributes:
        period: its time range, as the body names it.
        max_rows: rows of the file; None if it has all.
        rows, totals: statements that read the settings of the query.
        columns: of a row, each with its name in `rows`.
        total_columns: of the totals, each with its name in `totals`.
    """

    query: Query
    period: str
    max_rows: int | None
    rows: str
    totals: str
    columns: Mapping[str, Column]
    total_columns: Mapping[str, Column]


def plan_query(layer: SemanticLayer, body: Any, today: date) -> PlannedQuery:
    """Plans the export of a query's body, or of a stored one, on a day (UTC).

    Raises:
        ValidationFailed: it has no valid query, or no fact can answer it. The messages are those of `POST /analytics/query`.
        InvalidTimeRange: the dates are not a valid time range.
    """
    try:
        content = query_schema(layer)().load(body)
    except ma.ValidationError as error:
        raise ValidationFailed(INVALID, details={"query": list(flatten_messages(error.messages))}) from error
    try:
        query = resolve_query(layer, {"limit": MAX_ROWS, **content}, today)
        rows_fact, totals_fact = choose_fact(layer, query), choose_fact(layer, query, of_rows=False)
    except (ValidationFailed, InvalidTimeRange) as error:
        raise type(error)(error.message, details={"query": sentences(error)}) from error
    columns = _row_columns(query)
    _check_names(columns.values())
    return PlannedQuery(
        query=query,
        period=content["time_range"],
        max_rows=content.get("limit"),
        rows=rows_statement(layer, query, rows_fact),
        totals=totals_statement(query, totals_fact),
        columns=columns,
        total_columns=_metric_columns(query),
    )


def sentences(error: ApiError) -> list[str]:
    """The messages of an error, by field."""
    return [f"{name}: {message}" for name, messages in (error.details or {}).items() for message in messages]


def _row_columns(query: Query) -> dict[str, Column]:
    """In the order of the request, as its rows are read: time, dimensions, metrics."""
    kind: Kind = "date-time" if query.granularity == "hour" else "date"
    time = {TIME: Column(TIME, kind, is_nullable=False)} if query.granularity else {}
    dimensions = {item.name: Column(item.name, item.kind, is_nullable=False) for item in query.dimensions}
    return {**time, **dimensions, **_metric_columns(query)}


def _metric_columns(query: Query) -> dict[str, Column]:
    return {
        column: Column(metric.name if part == "value" else f"{metric.name}_{part}", _kind(metric, part), is_nullable=True)
        for metric in query.metrics
        for part, column in metric_parts(metric, is_compared=bool(query.compare_days)).items()
    }


def _kind(metric: Metric, part: str) -> Kind:
    return "integer" if metric.unit == "count" and part in ("value", "previous") else "number"


def _check_names(columns: Iterable[Column]) -> None:
    """
    Raises:
        ValidationFailed: two columns of the file would have one name: an analyst may call a metric open_rate_low.
    """
    for name, number in Counter(column.name for column in columns).items():
        if number > 1:
            message = f"metrics: two columns of the file would be named {name}. Export one of these metrics alone."
            raise ValidationFailed(INVALID, details={"query": [message]})
