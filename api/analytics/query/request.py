"""The body of a query: its schema, and how it is resolved on a day."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

import marshmallow as ma

from api.contract.parameters import Id, are_distinct, is_time_zone, parameter_fields, resolve_window
from api.contract.schema_classes import schema_class
from api.contract.semantic_layer import BASES, RESERVED, Basis, Dimension, Metric, SemanticLayer
from api.contract.suggestions import nearest
from api.errors import INVALID, InvalidTimeRange, ValidationFailed

MAX_METRICS = 20
MAX_DIMENSIONS = 3
MAX_FILTERS = 10
MAX_VALUES = 100
MAX_ORDER = 3
MAX_LIMIT = 1000
GRANULARITIES = ("hour", "day", "week", "month")
# a period is moved by whole weeks: a Monday is compared with a Monday
WEEK = 7
DAYS_OF_YEAR = 52 * WEEK
COMPARISONS = ("previous_period", "previous_year")
TIME = RESERVED[0]

# before, some zones differ from UTC by seconds, which RFC 3339 cannot say; after, Python has no date
FIRST_YEAR, LAST_YEAR = 1973, 9998
# of a name that is not known, in an error
MAX_SHOWN = 100

Operator = Literal["in", "not_in"]


class KnownName(ma.validate.OneOf):
    """A validator of names; its error has the name that is meant."""

    def __init__(self, choices: Iterable[str], kind: str) -> None:
        super().__init__(list(choices))
        self._kind = kind

    def __call__(self, value: Any) -> str:
        if value not in self.choices:
            match = nearest(str(value), self.choices)
            help_text = f"Did you mean {match}?" if match else f"Known: {', '.join(self.choices)}."
            # JSON can have half of a surrogate pair, which a response cannot
            name = str(value)[:MAX_SHOWN].encode(errors="replace").decode()
            raise ma.ValidationError(f"Unknown {self._kind} {name}. {help_text}")
        return str(value)


@dataclass(frozen=True)
class Filter:
    """Only rows whose dimension has one of the values, or none of them."""

    dimension: Dimension
    operator: Operator
    values: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """A metric, a dimension or the time that rows are ordered by."""

    field: str
    is_descending: bool


@dataclass(frozen=True)
class Query:
    """A resolved query.

    Attributes:
        granularity: the bucket of time; '' if rows have no time.
        compare_days: how many days before the window the compared period lies; 0 for none.
        order: ends with all that makes a row unique.
        named: the dimensions whose display names the response has.
        after: of the last row of the page before, the values of `order`; None for the first page.
    """

    metrics: tuple[Metric, ...]
    dimensions: tuple[Dimension, ...]
    filters: tuple[Filter, ...]
    first: date
    last: date
    granularity: str
    timezone: str
    basis: Basis
    compare_days: int
    order: tuple[Order, ...]
    limit: int
    named: tuple[str, ...] = ()
    after: tuple[Any, ...] | None = None

    def settings(self) -> dict[str, str]:
        """The settings of the request context, without workspace and batch. Values of filters are never a part of a statement."""
        parameters = {"filters": [item.values for item in self.filters], "limit": self.limit + 1, "after": self.after}
        return {
            "mailmart.range_start": self.first.isoformat(),
            "mailmart.range_end": self.last.isoformat(),
            "mailmart.timezone": self.timezone,
            "mailmart.compare_days": str(self.compare_days or ""),
            "mailmart.query_parameters": json.dumps(parameters),
        }

    def range_of_days(self) -> tuple[date, date]:
        """The first and the last day that is read, of both periods."""
        return self.first - timedelta(days=self.compare_days), self.last

    def time_range(self, period: str) -> dict[str, str]:
        """The field `time_range` of the response."""
        return {**_moments(self.first, self.last, self.timezone), "period": period}

    def compared_range(self) -> dict[str, str]:
        """The field `compare` of the response's metadata."""
        shift = timedelta(days=self.compare_days)
        return _moments(self.first - shift, self.last - shift, self.timezone)


def request_fields(layer: SemanticLayer) -> dict[str, ma.fields.Field[Any]]:
    """The fields of the body."""
    metric = {"x-enum-name": "QueryMetric", **_described(layer.metrics)}
    dimension = {"x-enum-name": "QueryDimension", **_described(layer.dimensions)}
    examples = [name for name in ("sent", "open_rate") if name in layer.metrics] or list(layer.metrics)[:1]
    return {
        "metrics": ma.fields.List(
            ma.fields.String(validate=KnownName(layer.metrics, "metric"), metadata=metric),
            required=True,
            validate=[ma.validate.Length(min=1, max=MAX_METRICS), are_distinct],
            metadata={"description": "The metrics to return, without duplicates.", "example": examples, "uniqueItems": True},
        ),
        "dimensions": ma.fields.List(
            ma.fields.String(validate=KnownName(layer.dimensions, "dimension"), metadata=dimension),
            load_default=list,
            validate=[ma.validate.Length(max=MAX_DIMENSIONS), are_distinct],
            metadata={
                "description": "The dimensions to group by, without duplicates. Without dimensions and granularity: one row.",
                "example": ["campaign"] if "campaign" in layer.dimensions else [],
                "uniqueItems": True,
            },
        ),
        "filters": ma.fields.List(
            ma.fields.Nested(_filter_schema(layer)),
            load_default=list,
            validate=ma.validate.Length(max=MAX_FILTERS),
            metadata={"description": "Which mail counts: mail that matches all filters."},
        ),
        **parameter_fields("time_range"),
        "granularity": ma.fields.String(
            validate=ma.validate.OneOf(GRANULARITIES),
            metadata={
                "description": "Splits rows by time as well: `time` is the bucket's first day in the time range, or its first"
                " moment. Weeks start on Monday. Without dimensions, the series is complete.",
                "x-enum-name": "QueryGranularity",
            },
        ),
        "timezone": ma.fields.String(
            load_default="UTC",
            validate=is_time_zone,
            metadata={
                "description": "IANA time zone of the time range, of days and of hours, such as America/New_York. Default: UTC.",
                "example": "UTC",
            },
        ),
        "basis": ma.fields.String(
            load_default=BASES[0],
            validate=ma.validate.OneOf(BASES),
            metadata={
                "description": "The day that a count belongs to: the day of sending (`sent`), or the day of the event (`event`).",
                "x-enum-name": "QueryBasis",
            },
        ),
        "compare": ma.fields.String(
            validate=ma.validate.OneOf(COMPARISONS),
            metadata={
                "description": "Adds the `previous` value and the `change` to each metric: against the previous period, or the"
                " previous year. It is shifted by whole weeks, so that each day is compared with the same day of the week.",
                "x-enum-name": "QueryComparison",
            },
        ),
        "order_by": ma.fields.List(
            ma.fields.Nested(_order_schema(layer)),
            load_default=list,
            validate=ma.validate.Length(max=MAX_ORDER),
            metadata={"description": "Sort order. Default: by time, if rows have one; else by the first metric, descending."},
        ),
        "names": ma.fields.Boolean(
            load_default=False,
            truthy={True},
            falsy={False},
            metadata={
                "description": "Adds `names` to the dimensions in `meta.definitions`: the display names of the ids on this page."
                f" Of {', '.join(sorted(layer.named))}.",
                "example": True,
            },
        ),
        "limit": ma.fields.Integer(
            load_default=100,
            strict=True,
            validate=ma.validate.Range(min=1, max=MAX_LIMIT),
            metadata={"description": "Rows per page.", "example": 100},
        ),
        "cursor": ma.fields.String(
            validate=ma.validate.Length(min=1, max=20_000),
            metadata={
                "description": "`meta.next_cursor` of the previous page, with the same query.",
                "example": "9KZ61V-6WyI3ZTU0OWJjNDMyNTgzYmYyMTMiLDUwMDAsImNtcF9hYmMxMjMiXQ",
            },
        ),
    }


def example_body(layer: SemanticLayer) -> dict[str, Any]:
    """A body that can be sent as it is: the first page of a query."""
    fields = request_fields(layer)
    return {name: fields[name].metadata["example"] for name in ("metrics", "dimensions", "time_range", "limit")}


def resolve_query(layer: SemanticLayer, body: Mapping[str, Any], today: date) -> Query:
    """The query of a validated body on a day (UTC); its cursor is left for `cursor.decode`.

    Raises:
        ValidationFailed: fields contradict each other.
        InvalidTimeRange: the dates are not a valid time range.
    """
    first, last = resolve_window(body, today)
    if first.year < FIRST_YEAR or last.year > LAST_YEAR:
        too_far = f"A query's time range is between {FIRST_YEAR} and {LAST_YEAR}"
        raise InvalidTimeRange(too_far, details={name: [f"{too_far}."] for name in ("start_date", "end_date")})
    granularity = body.get("granularity", "")
    dimensions = tuple(layer.dimensions[name] for name in body["dimensions"])
    metrics = tuple(layer.metrics[name] for name in body["metrics"])
    return Query(
        metrics=metrics,
        dimensions=dimensions,
        filters=tuple(_filter(layer, number, item) for number, item in enumerate(body["filters"])),
        first=first,
        last=last,
        granularity=granularity,
        timezone=body["timezone"],
        basis=body["basis"],
        compare_days=_compare_days(body.get("compare", ""), first, last),
        order=_order(body["order_by"], metrics, dimensions, granularity),
        limit=body["limit"],
        named=tuple(sorted(layer.named.intersection(body["dimensions"]))) if body.get("names") else (),
    )


def _compare_days(compare: str, first: date, last: date) -> int:
    if compare == "previous_year":
        return DAYS_OF_YEAR
    days = (last - first).days + 1
    return -(-days // WEEK) * WEEK if compare else 0


def _filter(layer: SemanticLayer, number: int, item: Mapping[str, Any]) -> Filter:
    dimension = layer.dimensions[item["dimension"]]
    if dimension.kind == "integer":
        for value in item["values"]:
            if not (value.isascii() and value.removeprefix("-").isdigit()):
                message = f"{number}: values: {dimension.name} is a whole number, and {value!r} is not."
                raise ValidationFailed(INVALID, details={"filters": [message]})
    return Filter(dimension, item["operator"], tuple(item["values"]))


def _order(
    items: Iterable[Mapping[str, str]], metrics: tuple[Metric, ...], dimensions: tuple[Dimension, ...], granularity: str
) -> tuple[Order, ...]:
    of_row = [*([TIME] if granularity else []), *(dimension.name for dimension in dimensions)]
    order: dict[str, Order] = {}
    for number, item in enumerate(items):
        field = item["field"]
        if field not in of_row and field not in (metric.name for metric in metrics):
            missing = "granularity" if field == TIME else "metrics or dimensions"
            message = f"{number}: field: {field} is not in the rows. Add it to {missing}, or order by something else."
            raise ValidationFailed(INVALID, details={"order_by": [message]})
        order.setdefault(field, Order(field, item["direction"] == "desc"))
    if not order and not granularity:
        order[metrics[0].name] = Order(metrics[0].name, is_descending=True)
    for field in of_row:
        order.setdefault(field, Order(field, is_descending=False))
    return tuple(order.values())


# one class a layer: apispec documents two classes of the same name as two schemas
@lru_cache(maxsize=4)
def _filter_schema(layer: SemanticLayer) -> type[ma.Schema]:
    return schema_class(
        "QueryFilter",
        {
            "dimension": ma.fields.String(
                required=True,
                validate=KnownName(layer.dimensions, "dimension"),
                metadata={
                    "description": "The dimension to filter by.",
                    "x-enum-name": "QueryDimension",
                    **_described(layer.dimensions),
                },
            ),
            "operator": ma.fields.String(
                load_default="in",
                validate=ma.validate.OneOf(["in", "not_in"]),
                metadata={
                    "description": "`in`: mail with one of the values; `not_in`: all other mail.",
                    "x-enum-name": "QueryOperator",
                },
            ),
            "values": ma.fields.List(
                Id(allow_empty=True),
                required=True,
                validate=ma.validate.Length(min=1, max=MAX_VALUES),
                metadata={
                    "description": "Ids, names or numbers, as strings. '' is mail without a value.",
                    "example": ["cmp_abc123"],
                },
            ),
        },
    )


@lru_cache(maxsize=4)
def _order_schema(layer: SemanticLayer) -> type[ma.Schema]:
    fields = [TIME, *layer.dimensions, *layer.metrics]
    return schema_class(
        "QueryOrder",
        {
            "field": ma.fields.String(
                required=True,
                validate=KnownName(fields, "field"),
                metadata={"description": "`time`, or a metric or a dimension of the query.", "x-enum-name": "QueryField"},
            ),
            "direction": ma.fields.String(
                load_default="asc",
                validate=ma.validate.OneOf(["asc", "desc"]),
                metadata={"description": "Ascending or descending. Nulls are last.", "x-enum-name": "QueryDirection"},
            ),
        },
    )


def _described(items: Mapping[str, Metric] | Mapping[str, Dimension]) -> dict[str, Any]:
    return {"x-enum-descriptions": [" ".join(item.description.split()) for item in items.values()]}


def _moments(first: date, last: date, timezone: str) -> dict[str, str]:
    zone = ZoneInfo(timezone)
    start = datetime.combine(first, time(0), zone)
    end = datetime.combine(last, time(23, 59, 59), zone)
    return {"start": _text(start), "end": _text(end)}


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


@lru_cache(maxsize=1024)
def offset_minutes(timezone: str, first: date, last: date) -> frozenset[int]:
    """The differences from UTC of a zone's clocks over these days, in minutes."""
    zone = ZoneInfo(timezone)
    days = range((last - first).days + 3)
    moments = (datetime.combine(first, time(0), ZoneInfo("UTC")) + timedelta(days=day - 1) for day in days)
    offsets = (moment.astimezone(zone).utcoffset() or timedelta(0) for moment in moments)
    return frozenset(int(offset.total_seconds()) // 60 for offset in offsets)
