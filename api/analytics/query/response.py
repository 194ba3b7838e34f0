"""The response of a query: its document, and its content from rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import marshmallow as ma

from api.analytics.query.request import TIME, Query
from api.analytics.query.statement import metric_columns, metric_parts
from api.contract.parameters import TimeRange
from api.contract.semantic_layer import Dimension, SemanticLayer
from api.web.schemas import Meta, OpenSchema, data_schema

Row = tuple[Any, ...]


class MetricValue(OpenSchema):
    """The value of a metric."""

    value = ma.fields.Float(
        required=True,
        allow_none=True,
        metadata={
            "description": "The value. Rates are percentages. Null if it is undefined without messages.",
            "example": 35.1,
        },
    )
    low = ma.fields.Float(
        allow_none=True,
        metadata={
            "description": "Of a rate: the lower end of its 95 % confidence interval (Wilson). Null if the denominator is 0.",
            "example": 32.4,
        },
    )
    high = ma.fields.Float(
        allow_none=True,
        metadata={"description": "Of a rate: the upper end of its 95 % confidence interval.", "example": 37.9},
    )
    previous = ma.fields.Float(
        allow_none=True, metadata={"description": "With `compare`: the value of the compared period.", "example": 33.0}
    )
    change = ma.fields.Float(
        allow_none=True,
        metadata={
            "description": "With `compare`: the change. Of a rate in percentage points, else in per cent (null if it was 0).",
            "example": 2.1,
        },
    )


class ComparedRange(OpenSchema):
    """The period that the time range is compared with."""

    start = ma.fields.DateTime(
        required=True, metadata={"description": "First second of the period.", "example": "2025-09-22T00:00:00Z"}
    )
    end = ma.fields.DateTime(
        required=True, metadata={"description": "Last second of the period.", "example": "2025-10-22T23:59:59Z"}
    )


class Definition(OpenSchema):
    """What a metric or a dimension means."""

    label = ma.fields.String(required=True, metadata={"description": "The display name.", "example": "Open rate"})
    description = ma.fields.String(
        required=True, metadata={"description": "The definition.", "example": "Messages opened, in per cent of those delivered."}
    )
    unit = ma.fields.String(
        validate=ma.validate.OneOf(["count", "number", "percent"]),
        metadata={"description": "Unit of a metric.", "example": "percent", "x-enum-name": "QueryUnit"},
    )
    formula = ma.fields.String(
        metadata={"description": "Formula of a metric that is computed from others.", "example": "opened / delivered"}
    )
    names = ma.fields.Dict(
        keys=ma.fields.String(),
        values=ma.fields.String(),
        metadata={
            "description": "With `names`: the display names of the dimension's values on this page. A value without one is left"
            " out.",
            "example": {"cmp_abc123": "Spring sale"},
        },
    )


class QueryMeta(Meta):
    """Metadata of a query's response."""

    next_cursor = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The cursor of the next page; null on the last.", "example": None},
    )
    compare = ma.fields.Nested(ComparedRange, metadata={"description": "With `compare`: the compared period."})
    definitions = ma.fields.Dict(
        required=True,
        keys=ma.fields.String(),
        values=ma.fields.Nested(Definition),
        metadata={
            "description": "What each metric and dimension of the query means.",
            "example": {
                "open_rate": {
                    "label": "Open rate",
                    "description": "Messages opened, in per cent of those delivered.",
                    "unit": "percent",
                    "formula": "opened / delivered",
                }
            },
        },
    )


class QueryRow(OpenSchema):
    """A row: its time, dimensions and metrics."""

    time = ma.fields.String(
        metadata={
            "description": "With `granularity`: the bucket's first day in the time range, or the start of the hour with its UTC"
            " offset.",
            "example": "2025-11-03",
        }
    )
    dimensions = ma.fields.Dict(
        required=True,
        keys=ma.fields.String(),
        values=ma.fields.String(),
        metadata={
            "description": "The value of each dimension, as a string. '' is mail without a value.",
            "example": {"campaign": "cmp_abc123"},
        },
    )
    metrics = ma.fields.Dict(
        required=True,
        keys=ma.fields.String(),
        values=ma.fields.Nested(MetricValue),
        metadata={"description": "The value of each metric.", "example": {"sent": {"value": 1200}}},
    )


class QueryData(OpenSchema):
    """The rows of a page, and the totals of all pages."""

    time_range = ma.fields.Nested(TimeRange, required=True)
    rows = ma.fields.List(ma.fields.Nested(QueryRow), required=True)
    totals = ma.fields.Dict(
        required=True,
        keys=ma.fields.String(),
        values=ma.fields.Nested(MetricValue),
        metadata={
            "description": "Each metric over all rows of all pages.",
            "example": {"sent": {"value": 5000}},
        },
    )


def query_response_schema() -> type[ma.Schema]:
    """The schema of the 200 response."""
    return data_schema(
        "QueryMetricsResponse",
        ma.fields.Nested(QueryData, required=True),
        meta=ma.fields.Nested(QueryMeta, required=True),
    )


def rows_of(query: Query, names: Sequence[str], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as a response has them. `names` are those of their columns."""
    # column by column: an object with one or three fixed keys is made in a fifth of the time of one whose keys are looked up
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
    if not columns:
        return []
    split_by = [dimension.name for dimension in query.dimensions]
    texts = [list(map(_text_of(dimension), columns[dimension.name])) for dimension in query.dimensions]
    dimensions = _objects(split_by, texts, len(rows))
    metrics = _metrics(query, columns, len(rows))
    if not query.granularity:
        return [{"dimensions": split, "metrics": values} for split, values in zip(dimensions, metrics, strict=True)]
    times = map(_time_of(query), columns[TIME])
    return [
        {TIME: time, "dimensions": split, "metrics": values}
        for time, split, values in zip(times, dimensions, metrics, strict=True)
    ]


def totals_of(query: Query, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """The totals."""
    columns = {column: [value] for column, value in zip(metric_columns(query), rows[0], strict=True)}
    return _metrics(query, columns, 1)[0]


def definitions_of(layer: SemanticLayer, query: Query, names: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    """What the query's metrics and dimensions mean. `names`: of dimensions, the display names of values."""
    definitions: dict[str, dict[str, Any]] = {}
    for metric in query.metrics:
        definitions[metric.name] = {"label": metric.label, "description": metric.description, "unit": metric.unit}
        if metric.formula:
            definitions[metric.name]["formula"] = metric.formula
    for dimension in query.dimensions:
        definitions[dimension.name] = {"label": dimension.label, "description": dimension.description}
        if dimension.name in names:
            definitions[dimension.name]["names"] = names[dimension.name]
    return definitions


def _objects(names: Sequence[str], columns: Sequence[Sequence[Any]], number: int) -> list[dict[str, Any]]:
    """An object for each row, from its columns."""
    if not names:
        return [{} for _ in range(number)]
    return [dict(zip(names, values, strict=False)) for values in zip(*columns, strict=True)]


def _metrics(query: Query, columns: Mapping[str, Sequence[Any]], number: int) -> list[dict[str, Any]]:
    """The metrics of each row."""
    values = []
    for metric in query.metrics:
        parts = metric_parts(metric, is_compared=bool(query.compare_days))
        of_parts = [columns[column] for column in parts.values()]
        if tuple(parts) == ("value",):
            values.append([{"value": value} for value in of_parts[0]])
        elif tuple(parts) == ("value", "low", "high"):
            values.append([{"value": value, "low": low, "high": high} for value, low, high in zip(*of_parts, strict=True)])
        else:
            values.append(_objects(tuple(parts), of_parts, number))
    return _objects([metric.name for metric in query.metrics], values, number)


def _text_of(dimension: Dimension) -> Callable[[Any], str]:
    # as filters have it
    return (lambda value: str(value).lower()) if dimension.kind == "boolean" else str


def _time_of(query: Query) -> Callable[[Any], str]:
    if query.granularity != "hour":
        return date.isoformat
    zone = ZoneInfo(query.timezone)
    return lambda moment: moment.astimezone(zone).isoformat()
