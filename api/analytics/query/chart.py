"""The chart of a query: its first metric, as lines over time or as a bar for each row. The numbers are those of the response."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from api.analytics.chart_document import MAX_TEXT, chart_document
from api.analytics.query.request import MAX_LIMIT, TIME
from api.contract.charts import RowsChart
from api.contract.semantic_layer import Dimension, Metric, SemanticLayer
from api.errors import INVALID, ValidationFailed

Body = Mapping[str, Any]
# the whole response to a query: `data` and `meta`
Answer = Mapping[str, Any]
Ask = Callable[[Body], Answer]

NAME = "metrics"
TITLE = "The first metric over time, or a bar for each row"
# more colours than these cannot be distinguished
MAX_LINES = 7
DEFAULT_BARS, MAX_BARS = 25, 100
PART, VALUE = "part", "value"
NO_VALUE = "(none)"
COMPARED = {"previous_period": "the period before", "previous_year": "the year before"}


def answer_of_chart(body: Body, ask: Ask) -> Answer:
    """The answer that is drawn. Of dimensions over time, the lines are the first rows of the same query without time.

    Raises:
        ValidationFailed: there are more points than a chart can show.
    """
    body = {**body, "names": True}
    if not body.get("granularity"):
        return ask(body)
    by_time = {**body, "limit": MAX_LIMIT}
    if not body["dimensions"]:
        return _complete(ask(by_time))
    # over time, rows are ordered by time first: which parts are the largest, the whole time range says
    of_parts = {name: value for name, value in body.items() if name not in ("granularity", "compare")}
    order = [item for item in body["order_by"] if item["field"] != TIME]
    parts = ask({**of_parts, "order_by": order, "limit": MAX_LINES})
    shown = [row["dimensions"] for row in parts["data"]["rows"]]
    filters = [
        {"dimension": name, "operator": "in", "values": list(dict.fromkeys(part[name] for part in shown))}
        for name in body["dimensions"]
        if shown
    ]
    answer = _complete(ask({**by_time, "order_by": [], "filters": [*body["filters"], *filters]}))
    # filters by two dimensions keep every pair of their values
    rows = [row for row in answer["data"]["rows"] if row["dimensions"] in shown]
    rows.sort(key=lambda row: shown.index(row["dimensions"]))
    return {
        "data": {**answer["data"], "rows": rows},
        "meta": {**answer["meta"], "next_cursor": parts["meta"]["next_cursor"]},
    }


def document_of_chart(layer: SemanticLayer, body: Body, answer: Answer) -> dict[str, Any]:
    """The chart's document of such an answer."""
    return chart_document(*chart_of_answer(layer, body, answer), datetime.fromisoformat(answer["meta"]["data_as_of"]))


def chart_of_answer(layer: SemanticLayer, body: Body, answer: Answer) -> tuple[RowsChart, list[dict[str, Any]]]:
    """The chart of such an answer, and its rows."""
    rows, meta = answer["data"]["rows"], answer["meta"]
    metric = layer.metrics[body["metrics"][0]]
    dimensions = [layer.dimensions[name] for name in body["dimensions"]]
    values = _of_dimensions(rows, metric.name, dimensions, meta["definitions"]) if dimensions else _of_metrics(layer, rows, body)
    parts = list(dict.fromkeys(row[PART] for row in values))
    by = ", ".join(dimension.label for dimension in dimensions)
    title = f"{metric.label} by {by}" if dimensions else ", ".join(parts) or metric.label
    of_parts = f"{by}: the first {len(parts)}" if dimensions and meta["next_cursor"] else by or None
    is_one = bool(dimensions) or len(parts) == 1
    measure = {"field": VALUE, "title": _axis_title(metric, is_one=is_one)}
    mark: dict[str, Any] = {"type": "bar"}
    encoding: dict[str, Any] = {"x": measure, "y": {"field": PART, "sort": None, "title": of_parts}}
    if body.get("granularity"):
        mark = {"type": "line", "point": True}
        encoding = {"x": {"field": TIME, "title": None}, "y": measure}
        # the legend says of which part the only line is
        if dimensions or len(parts) > 1:
            scale, legend = {"domain": parts}, {"symbolType": "stroke"}
            encoding["color"] = {"field": PART, "title": of_parts, "scale": scale, "legend": legend}
    return RowsChart(
        name=NAME,
        title=title,
        description=" ".join(metric.description.split()),
        mark=mark,
        encoding=encoding,
        kinds={TIME: "date-time" if body.get("granularity") == "hour" else "date", PART: "string", VALUE: "number"},
        labels={TIME: "Time", PART: by or "Metric", VALUE: metric.label if is_one else "Value"},
        height=280 if body.get("granularity") else 0,
    ), values


def _axis_title(metric: Metric, *, is_one: bool) -> str | None:
    """The title of the values: the metric's name, if all are of one, and its unit."""
    if metric.unit != "percent":
        return metric.label if is_one else None
    return f"{metric.label}, per cent" if is_one else "Per cent"


def _complete(answer: Answer) -> Answer:
    """
    Raises:
        ValidationFailed: it is one page of several.
    """
    if answer["meta"]["next_cursor"]:
        reason = f"The chart would have more than {MAX_LIMIT:,} points. Use a shorter time range, or longer buckets."
        raise ValidationFailed(INVALID, details={"granularity": [reason]})
    return answer


def _of_dimensions(
    rows: Iterable[Mapping[str, Any]], metric: str, dimensions: Sequence[Dimension], definitions: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A value for each row; its part is named by its dimensions: by their display names, if they have some."""
    shown = [definitions[dimension.name].get("names", {}) for dimension in dimensions]
    names: dict[tuple[str, ...], str] = {}
    values = []
    for row in rows:
        key = tuple(row["dimensions"][dimension.name] for dimension in dimensions)
        if key not in names:
            texts = [of_value.get(value) or value or NO_VALUE for value, of_value in zip(key, shown, strict=True)]
            names[key] = _unique(", ".join(texts), names.values())
        values.append({**_time(row), PART: names[key], VALUE: row["metrics"][metric]["value"]})
    return values


def _of_metrics(layer: SemanticLayer, rows: Iterable[Mapping[str, Any]], body: Body) -> list[dict[str, Any]]:
    """The first metric, the others of its unit, and the first of the period that it is compared with."""
    first, *others = (layer.metrics[name] for name in body["metrics"])
    shown = [first, *(metric for metric in others if metric.unit == first.unit)][:MAX_LINES]
    series = [(metric.label, metric.name, "value") for metric in shown]
    if body.get("compare"):
        series.insert(1, (f"{first.label}, {COMPARED[body['compare']]}", first.name, "previous"))
    return [{**_time(row), PART: label, VALUE: row["metrics"][name][key]} for row in rows for label, name, key in series]


def _time(row: Mapping[str, Any]) -> dict[str, str]:
    """The time of a row's bucket. An hour is one of the clock of the query's zone, which a chart would draw in UTC."""
    if TIME not in row:
        return {}
    text: str = row[TIME]
    return {TIME: f"{text[:19]}Z" if "T" in text else text}


def _unique(text: str, others: Iterable[str]) -> str:
    """A text that is short enough for a chart, and none of the others: two parts of one name would be drawn as one."""
    short = text if len(text) <= MAX_TEXT - 10 else f"{text[: MAX_TEXT - 11]}…"
    known, number, result = set(others), 2, short
    while result in known:
        result, number = f"{short} ({number})", number + 1
    return result
