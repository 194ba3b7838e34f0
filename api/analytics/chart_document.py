"""A chart as a Vega-Lite document that contains its data, so that it can be drawn without any other source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from api.analytics.chart_theme import DARK, LIGHT
from api.contract.charts import SERIES, TYPE_BY_KIND, VALUE, Chart, Names, RowsChart
from api.contract.exposures import Section

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
# days are UTC, and a program in another zone must not draw the day before
DATE_UNIT = "utcyearmonthdate"
# "Nov 3", and below the first day and the first of a year which year it is; nothing at a tick within a day, of a few days
DATE_LABELS = (
    "utchours(datum.value) ? '' : [utcFormat(datum.value, '%b %-d'),"
    " datum.index === 0 || utcdayofyear(datum.value) === 1 ? utcFormat(datum.value, '%Y') : '']"
)
MAX_TEXT = 120
# a chart of small ones has a width of its own, not that of the page
FACETS = ("column", "facet", "row")


def chart_document(chart: RowsChart, rows: Iterable[Mapping[str, Any]], data_as_of: datetime) -> dict[str, Any]:
    """The document of a chart of these rows, in the light theme; `usermeta` has the dark one."""
    document: dict[str, Any] = {
        "$schema": SCHEMA,
        "title": chart.title,
        **({"description": chart.description} if chart.description else {}),
        "usermeta": {"data_as_of": data_as_of, "dark": DARK},
        **({} if any(channel in chart.encoding for channel in FACETS) else {"width": "container"}),
        **({"height": chart.height} if chart.height else {}),
        **({"resolve": {"scale": dict.fromkeys(chart.independent, "independent")}} if chart.independent else {}),
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": list(_values(chart, rows))},
        "mark": _mark(chart),
        "encoding": {channel: _channels(chart, channel, definitions) for channel, definitions in chart.encoding.items()},
        "config": LIGHT,
    }
    if "width" not in document:
        del document["autosize"]
    return document


def rows_of(chart: Chart, data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of the chart's section in the endpoint's `data`; an object is one row, and null is no row."""
    value = _content_of(chart.section, data)
    if chart.section.is_list:
        return _named(chart.names, value or [], data)
    names = {shown.group or shown.name for shown in chart.section.fields}
    return [{name: value[name] for name in names if name in value}] if value else []


def _content_of(section: Section, data: Mapping[str, Any]) -> Any:
    value: Any = data
    for part in section.path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _named(names: Names | None, rows: Sequence[Mapping[str, Any]], data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows with names in place of ids; with the ids if two of them have the same name, which would be drawn as one."""
    if names is None:
        return list(rows)
    known = {value_at(row, names.field): value_at(row, names.name) for row in _content_of(names.section, data) or []}
    shown = {key: _short(name) for key, name in known.items() if name}
    if len(set(shown.values())) < len(shown):
        return list(rows)
    return [{**row, names.field: shown.get(row[names.field], row[names.field])} for row in rows]


def value_at(row: Mapping[str, Any], name: str) -> Any:
    """The value of a field of a row; None if the row lacks it. A field of a group has a dot in its name."""
    value: Any = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _values(chart: RowsChart, rows: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    for row in rows:
        shown = {name: _short(value) for name, value in row.items()}
        if not chart.fold:
            yield shown
            continue
        # the fields that are folded would be there twice
        kept = {name: value for name, value in shown.items() if name not in chart.fold and not isinstance(value, dict | list)}
        for name in chart.fold:
            yield {**kept, SERIES: chart.labels[name], VALUE: value_at(row, name)}


def _short(value: Any) -> Any:
    """A value that a picture can show: of a campaign's name of a megabyte, the beginning."""
    return f"{value[: MAX_TEXT - 1]}…" if isinstance(value, str) and len(value) > MAX_TEXT else value


def _mark(chart: RowsChart) -> dict[str, Any]:
    """The mark; points of a line without an outline, which would be dashed as the line is."""
    return {**chart.mark, "point": {"strokeWidth": 0, "size": 36}} if chart.mark.get("point") is True else dict(chart.mark)


def _channels(chart: RowsChart, channel: str, definitions: Any) -> Any:
    if isinstance(definitions, list):
        return [_channel(chart, channel, definition) for definition in definitions]
    return _channel(chart, channel, definitions)


def _channel(chart: RowsChart, channel: str, definition: Mapping[str, Any]) -> dict[str, Any]:
    """A channel with what the field's kind and label say, unless the YAML says it."""
    result = dict(definition)
    name = result.get("field")
    if name is None:
        return result
    kind = chart.kinds[name]
    # x2 and y2 have the type and the title of x and y
    if not channel.endswith("2") and "aggregate" not in result:
        result.setdefault("type", TYPE_BY_KIND[kind])
    if kind in ("date", "date-time") and result.get("type") == "temporal":
        if kind == "date":
            result.setdefault("timeUnit", DATE_UNIT)
        if channel in ("x", "y"):
            result["scale"] = {"type": "utc", **(result.get("scale") or {})}
            if result.get("axis", {}) is not None and kind == "date":
                result["axis"] = {"labelExpr": DATE_LABELS, **(result.get("axis") or {})}
    if name == SERIES:
        result.setdefault("title", None)
        if channel in ("color", "fill", "stroke", "strokeDash", "shape"):
            # in the order of the YAML, whatever the alphabet says
            result["scale"] = {"domain": [chart.labels[folded] for folded in chart.fold], **(result.get("scale") or {})}
            if chart.mark.get("type") == "line":
                # a piece of each line, and not of its points
                result.setdefault("legend", {"symbolType": "stroke"})
        elif channel in ("x", "y", "row", "column", "facet"):
            result.setdefault("sort", [chart.labels[folded] for folded in chart.fold])
    elif not channel.endswith("2"):
        result.setdefault("title", chart.labels[name])
    return result
