"""The SELECT of a query: columns and expressions of the publication, put together.

Values are parameters, never a part of it. Every name is one of our own manifest, and `_quoted` refuses others.

The same metrics, dimensions, filtered dimensions and order make the same text, whatever the values, so PostgreSQL plans it once
(db/prepared_statements.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from api.analytics.query.request import TIME, Filter, Query
from api.contract.semantic_layer import Fact, Metric, SemanticLayer

PARAMETERS = "(select current_setting('mailmart.query_parameters')::jsonb)"
CASTS = {"integer": "integer", "string": "text", "boolean": "boolean"}
PERIODS = ("current", "previous")
# Of a window, the planner expects a few rows, and would sort all of them by text. Transaction ids can be hashed, but not sorted:
# with a constant one among the keys, groups are found by hashing.
HASHED = "'0'::xid"


@dataclass(frozen=True)
class Key:
    """Something that rows are ordered by: its SQL, its value in the last row of the page before, and the direction."""

    sql: str
    after: str
    is_descending: bool

    @property
    def is_beyond(self) -> str:
        """The condition that a row comes later."""
        return f"{self.sql} {'<' if self.is_descending else '>'} {self.after}"

    @property
    def is_equal(self) -> str:
        """The condition that a row has the same value."""
        return f"{self.sql} is not distinct from {self.after}"


def rows_statement(layer: SemanticLayer, query: Query, fact: Fact) -> str:
    """The SELECT of a page of rows, and of one row more, with `page_columns`. Rows by time alone are a complete series.

    Rows are sorted and cut to the page before their metrics are computed, but for those that they are sorted by: there can be a
    million rows, and a metric with its interval costs more than the sums that it is made of.
    """
    bucket_view = layer.bucket_views.get(query.granularity, "")
    keys = _keys(query)
    order = ", ".join(f"{key.sql}{_direction(key)}" for key in keys)
    order_of_page = ", ".join(f"page.{_key_column(number)}{_direction(key)}" for number, key in enumerate(keys))
    sorted_by = [metric for metric in query.metrics if any(item.field == metric.name for item in query.order)]
    selected = ", ".join(["cells.*", *(f"{key.sql} as {_key_column(number)}" for number, key in enumerate(keys))])
    page = (
        f"select {selected}\n    from cells{_lateral(PERIODS[0], sorted_by, 'cells', with_interval=False) if sorted_by else ''}"
        + (f"\n    where {_is_after(keys)}" if query.after is not None else "")
        + (f"\n    order by {order}" if order else "")
        + f"\n    limit ({PARAMETERS} ->> 'limit')::int"
    )
    columns = [*_shown(query, row_columns(query), "page"), *(_name(layer, dimension) for dimension in query.named)]
    return (
        f"with cells as (\n    {_cells(query, fact, row_columns(query), bucket_view)}\n),\npage as (\n    {page}\n)"
        f"\nselect {', '.join(columns)}\nfrom page{_laterals(query, 'page')}" + (f"\norder by {order_of_page}" if order else "")
    )


def totals_statement(query: Query, fact: Fact) -> str:
    """The SELECT of the totals, one row: of each metric its parts."""
    columns = ", ".join(_shown(query, (), "cells"))
    return f"with cells as (\n    {_cells(query, fact, ())}\n)\nselect {columns}\nfrom cells{_laterals(query, 'cells')}"


def page_columns(query: Query) -> tuple[str, ...]:
    """The columns of `rows_statement`: time and dimensions, the parts of each metric, and the names of dimensions' values."""
    return (*row_columns(query), *metric_columns(query), *(name_column(dimension) for dimension in query.named))


def name_column(dimension: str) -> str:
    """The column with the display name of a dimension's value."""
    return f"{dimension} name"


def row_columns(query: Query) -> tuple[str, ...]:
    """What makes a row: its time and its dimensions, in one order, whatever that of the request."""
    return (*([TIME] if query.granularity else []), *sorted(dimension.name for dimension in query.dimensions))


def metric_columns(query: Query) -> tuple[str, ...]:
    """The columns of all metrics and of their parts, in one order."""
    return tuple(
        column
        for metric in _sorted(query.metrics)
        for column in metric_parts(metric, is_compared=bool(query.compare_days)).values()
    )


def metric_parts(metric: Metric, *, is_compared: bool) -> dict[str, str]:
    """The parts of a metric's value in a response, by their names, each with its column."""
    parts = {"value": metric.name}
    if metric.low_sql:
        parts |= {"low": f"{metric.name} low", "high": f"{metric.name} high"}
    if is_compared:
        parts |= {"previous": f"{metric.name} previous", "change": f"{metric.name} change"}
    return parts


def _cells(query: Query, fact: Fact, columns: Sequence[str], bucket_view: str = "") -> str:
    """The SELECT of the sums of each row, of each period."""
    measures = _measures(query.metrics)
    periods = _periods(query)
    groups = [f"fact.{_quoted(query.granularity if column == TIME else column)} as {_quoted(column)}" for column in columns]
    # without a comparison there is one period, which need not be looked at for each measure of each row
    of_period = " filter (where fact.period = '{}')" if query.compare_days else ""
    sums = [
        f"coalesce(sum(fact.{_quoted(measure)}){of_period.format(period)}, 0) as {_quoted(f'{period} {measure}')}"
        for period in periods
        for measure in measures
    ]
    conditions = [_condition(item, number) for number, item in enumerate(query.filters)]
    if not query.compare_days:
        # PostgreSQL leaves out the other half of the view
        conditions.append("fact.period = 'current'")
    where = f"\n    where {' and '.join(conditions)}" if conditions else ""
    group_by = f"\n    group by {', '.join([*map(str, range(1, len(groups) + 1)), HASHED])}" if groups else ""
    cells = f"select {', '.join([*groups, *sums])}\n    from {fact.view} as fact{where}{group_by}"
    if bucket_view and columns == (TIME,):
        return _with_all_buckets(cells, f"{_quoted(query.granularity)} as {_quoted(TIME)}", bucket_view, periods, measures)
    return cells


def _shown(query: Query, columns: Sequence[str], sums: str) -> list[str]:
    """The columns of a row and the parts of each metric, in the order of `metric_columns`."""
    shown = [f"{sums}.{_quoted(column)}" for column in columns]
    for metric in _sorted(query.metrics):
        shown += [f"now.{_quoted(column)}" for column in metric_parts(metric, is_compared=False).values()]
        if query.compare_days:
            name = _quoted(metric.name)
            shown.append(f"before.{name} as {_quoted(f'{metric.name} previous')}")
            shown.append(
                f'(select {metric.change_sql} from (select now.{name} as "current", before.{name} as "previous") as periods)'
                f" as {_quoted(f'{metric.name} change')}"
            )
    return shown


def _measures(metrics: Iterable[Metric]) -> list[str]:
    return sorted({column for metric in metrics for column in metric.columns})


def _periods(query: Query) -> tuple[str, ...]:
    return PERIODS if query.compare_days else PERIODS[:1]


def _sorted(metrics: Iterable[Metric]) -> list[Metric]:
    """In one order, whatever that of the request."""
    return sorted(metrics, key=lambda metric: metric.name)


def _with_all_buckets(cells: str, bucket: str, bucket_view: str, periods: Sequence[str], measures: Sequence[str]) -> str:
    """The same cells, and zeros for each bucket of the window that they do not have."""
    columns = [_quoted(f"{period} {measure}") for period in periods for measure in measures]
    sums = ", ".join(f"coalesce(sums.{column}, 0) as {column}" for column in columns)
    return (
        f"select buckets.{_quoted(TIME)}, {sums}\n    from (select distinct {bucket} from {bucket_view}) as buckets"
        f"\n    left join (\n    {cells}\n    ) as sums on buckets.{_quoted(TIME)} = sums.{_quoted(TIME)}"
    )


def _laterals(query: Query, sums: str) -> str:
    """The metrics of each period."""
    return "".join(_lateral(period, query.metrics, sums, with_interval=period == PERIODS[0]) for period in _periods(query))


def _lateral(period: str, metrics: Iterable[Metric], row: str, *, with_interval: bool) -> str:
    """Metrics of a period's sums, whose columns have the names that the expressions know. `row` has the sums of all periods."""
    values = []
    for metric in _sorted(metrics):
        values.append(f"{metric.sql} as {_quoted(metric.name)}")
        if with_interval and metric.low_sql:
            values.append(f"{metric.low_sql} as {_quoted(f'{metric.name} low')}")
            values.append(f"{metric.high_sql} as {_quoted(f'{metric.name} high')}")
    sums = ", ".join(f"{row}.{_quoted(f'{period} {measure}')} as {_quoted(measure)}" for measure in _measures(metrics))
    alias = "now" if period == PERIODS[0] else "before"
    return f"\n    cross join lateral (select {', '.join(values)} from (select {sums}) as sums) as {alias}"


def _name(layer: SemanticLayer, dimension: str) -> str:
    """The display name of a row's value: a subquery, which PostgreSQL runs for the rows of the page, and not for all."""
    conditions = f"names.dimension = '{dimension}' and names.value = page.{_quoted(dimension)}"
    return f"(select names.name from {layer.names_view} as names where {conditions}) as {_quoted(name_column(dimension))}"


def _condition(item: Filter, number: int) -> str:
    column = f"fact.{_quoted(item.dimension.name)}"
    if item.dimension.kind != "string":
        column = f"{column}::text"
    values = f"array(select jsonb_array_elements_text({PARAMETERS} -> 'filters' -> {number}))"
    return f"{column} = any({values})" if item.operator == "in" else f"{column} <> all({values})"


def _keys(query: Query) -> list[Key]:
    """The order of rows; a metric, which can be null, has two keys."""
    kinds = {dimension.name: dimension.kind for dimension in query.dimensions}
    keys = []
    for number, order in enumerate(query.order):
        after = f"({PARAMETERS} -> 'after' ->> {number})"
        column = f"{'cells' if order.field == TIME or order.field in kinds else 'now'}.{_quoted(order.field)}"
        if order.field == TIME:
            cast = "timestamptz" if query.granularity == "hour" else "date"
            keys.append(Key(column, f"{after}::{cast}", order.is_descending))
        elif order.field in kinds:
            collation = ' collate "C"' if kinds[order.field] == "string" else ""
            cast = CASTS[kinds[order.field]]
            keys.append(Key(f"{column}{collation}", f"{after}::{cast}", order.is_descending))
        else:
            keys.append(Key(f"({column} is null)", f"({after} is null)", is_descending=False))
            keys.append(Key(column, f"{after}::numeric", order.is_descending))
    return keys


def _key_column(number: int) -> str:
    """The column of a page that rows are ordered by. Dimensions have no space in their names."""
    return _quoted(f"key {number}")


def _direction(key: Key) -> str:
    return " desc" if key.is_descending else ""


def _is_after(keys: Sequence[Key]) -> str:
    """The condition that a row comes after the last one of the page before."""
    alternatives = []
    for number, key in enumerate(keys):
        alternatives.append(" and ".join([*(before.is_equal for before in keys[:number]), key.is_beyond]))
    return " or ".join(f"({alternative})" for alternative in alternatives) or "false"


def _quoted(name: str) -> str:
    """An identifier.

    Raises:
        ValueError: the name has other characters than those of dbt's names.
    """
    if not re.fullmatch(r"[A-Za-z0-9_]+( [A-Za-z0-9_]+)?", name):
        raise ValueError(f"{name!r} is no name of a column")
    return f'"{name}"'
