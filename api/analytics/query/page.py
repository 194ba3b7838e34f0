"""A page of a query's response as JSON, of rows that are PostgreSQL's texts: its numbers are those of JSON.

Reading numbers, making objects of them and writing them again took most of the time of a response. Exports have the same objects
by `response.rows_of`; tests/integration/exports/test_query_exports.py compares both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

import orjson

from api.analytics.query.request import TIME, Query
from api.analytics.query.statement import metric_columns, metric_parts, name_column, page_columns
from api.contract.semantic_layer import Dimension

# a row as PostgreSQL's texts; None is null
TextRow = tuple[str | None, ...]
Write = Callable[[str | None], str]
# of PostgreSQL -> as filters have it
BOOLEANS = {"t": "true", "f": "false"}
NULL = "null"


def page_of(query: Query, rows: Sequence[TextRow]) -> orjson.Fragment:
    """The rows of a page, a JSON array."""
    # column by column, which is done in C; so is the template of each row
    columns = _columns(query, rows)
    # each value once: they repeat from row to row
    writers = {dimension.name: cache(_writer_of(dimension)) for dimension in query.dimensions}
    writers[TIME] = cache(_time_writer(query))
    template, used = _row_template(query)
    values = [map(writers[name], columns[name]) if name in writers else _numbers(columns[name]) for name in used]
    return orjson.Fragment(f"[{','.join(map(template.__mod__, zip(*values, strict=True)))}]")


def names_of(query: Query, rows: Sequence[TextRow]) -> dict[str, dict[str, str]]:
    """The display names of the values of a page, by dimension. A value without a name is left out."""
    columns = _columns(query, rows)
    return {
        dimension: {
            value: name for value, name in zip(columns[dimension], columns[name_column(dimension)], strict=True) if value and name
        }
        for dimension in query.named
    }


def _columns(query: Query, rows: Sequence[TextRow]) -> dict[str, Sequence[str | None]]:
    """The values of a page by column."""
    names = page_columns(query)
    return dict(zip(names, zip(*rows[: query.limit], strict=True), strict=True)) if rows else dict.fromkeys(names, ())


def totals_of(query: Query, row: TextRow) -> orjson.Fragment:
    """The totals, a JSON object."""
    columns = dict(zip(metric_columns(query), row, strict=True))
    template, used = _metrics_template(query)
    return orjson.Fragment(template % tuple(_numbers([columns[name] for name in used])))


def order_values(query: Query, row: TextRow) -> list[object]:
    """The values of a row that a cursor needs."""
    kinds = {dimension.name: dimension.kind for dimension in query.dimensions}
    columns = dict(zip(page_columns(query), row, strict=True))
    return [_value(columns[order.field], TIME if order.field == TIME else kinds.get(order.field)) for order in query.order]


def _value(text: str | None, kind: str | None) -> object:
    if text is None or kind == "string":
        return text
    if kind == TIME:
        # without a time of day, it is a day
        return datetime.fromisoformat(text) if " " in text else text
    return text == "t" if kind == "boolean" else orjson.loads(text)


def _row_template(query: Query) -> tuple[str, list[str]]:
    """How a row is written, with %s for each value, and the columns of the values."""
    split_by = [dimension.name for dimension in query.dimensions]
    dimensions = ",".join(f"{_key(name)}%s" for name in split_by)
    metrics, of_metrics = _metrics_template(query)
    time = f"{_key(TIME)}%s," if query.granularity else ""
    template = f"{{{time}{_key('dimensions')}{{{dimensions}}},{_key('metrics')}{metrics}}}"
    return template, [*([TIME] if query.granularity else []), *split_by, *of_metrics]


def _metrics_template(query: Query) -> tuple[str, list[str]]:
    objects: list[str] = []
    used: list[str] = []
    for metric in query.metrics:
        parts = metric_parts(metric, is_compared=bool(query.compare_days))
        objects.append(f"{_key(metric.name)}{{{','.join(f'{_key(part)}%s' for part in parts)}}}")
        used += parts.values()
    return f"{{{','.join(objects)}}}", used


def _key(name: str) -> str:
    # names of columns have no character that JSON or the template would read as its own
    return f'"{name}":'


def _numbers(texts: Sequence[str | None]) -> Sequence[str]:
    return [NULL if text is None else text for text in texts] if None in texts else texts  # type: ignore[return-value]


def _writer_of(dimension: Dimension) -> Write:
    if dimension.kind == "boolean":
        return lambda text: _string(BOOLEANS[text] if text else text)
    return _string


def _string(text: str | None) -> str:
    # a dimension has no null
    return orjson.dumps(text or "").decode()


def _time_writer(query: Query) -> Write:
    if query.granularity != "hour":
        return _string
    zone = ZoneInfo(query.timezone)
    return lambda text: _string(datetime.fromisoformat(text or "").astimezone(zone).isoformat())
