"""Reads the charts of an exposure that is an endpoint: `config.meta.charts`, a list beside `config.meta.endpoint`.

    - name: engagement
      title: Opens, clicks and replies
      view: campaign_series
      fold: [opened, clicked, replied]
      mark: line
      encoding: {x: {field: date}, y: {field: value, title: Messages}, color: {field: series}}

`mark` and `encoding` are Vega-Lite's own. A field is a field of one of the endpoint's views, by its public name; of a field in a
`group`, with a dot: rates.open_rate. `view` is one of the endpoint's `response`; default: its first list, else its first view.

`fold` turns columns into rows: for each of its fields, a row has `series` (the field's label) and `value`. `labels` are the
texts of fields in axes and legends; default: open_rate is "Open rate". `params` sets parameters of the endpoint for this chart:
{granularity: hour}. `independent` are channels whose scale differs between the small charts of a row, column or facet: [x].

`names` shows names in place of ids: {field: campaign_id, view: comparison, name: campaign_name} looks them up in another list of
the response that has the same field. If two ids have the same name, the ids stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from api.contract.exposures import Endpoint, Kind, Section, check_keys
from api.contract.parameters import PARAMETERS
from api.contract.suggestions import suggest
from api.errors import ContractError

CHART_KEYS = (
    "description",
    "encoding",
    "fold",
    "height",
    "independent",
    "labels",
    "mark",
    "name",
    "names",
    "params",
    "title",
    "view",
)
MARKS = ("arc", "area", "bar", "line", "point", "rect", "rule", "square", "circle", "text", "tick", "trail")
MARK_KEYS = (
    "align",
    "angle",
    "baseline",
    "clip",
    "color",
    "cornerRadius",
    "cornerRadiusEnd",
    "dx",
    "dy",
    "fill",
    "fillOpacity",
    "filled",
    "fontSize",
    "fontWeight",
    "height",
    "innerRadius",
    "interpolate",
    "line",
    "opacity",
    "orient",
    "outerRadius",
    "padAngle",
    "point",
    "shape",
    "size",
    "stroke",
    "strokeDash",
    "strokeOpacity",
    "strokeWidth",
    "thickness",
    "tooltip",
    "type",
)
# Vega-Lite's, without those that make a mark a link or a picture from elsewhere
CHANNELS = (
    "angle",
    "color",
    "column",
    "detail",
    "facet",
    "fill",
    "fillOpacity",
    "opacity",
    "order",
    "radius",
    "row",
    "shape",
    "size",
    "stroke",
    "strokeDash",
    "strokeOpacity",
    "strokeWidth",
    "text",
    "theta",
    "theta2",
    "tooltip",
    "x",
    "x2",
    "xOffset",
    "y",
    "y2",
    "yOffset",
)
CHANNEL_KEYS = (
    "aggregate",
    "align",
    "axis",
    "bandPosition",
    "bin",
    "columns",
    "condition",
    "datum",
    "field",
    "format",
    "formatType",
    "header",
    "impute",
    "legend",
    "scale",
    "sort",
    "spacing",
    "stack",
    "timeUnit",
    "title",
    "type",
    "value",
)
TYPES = ("nominal", "ordinal", "quantitative", "temporal")
TYPE_BY_KIND: dict[Kind, str] = {
    "integer": "quantitative",
    "number": "quantitative",
    "string": "nominal",
    "boolean": "nominal",
    "date": "temporal",
    "date-time": "temporal",
}
# the two fields that `fold` adds
SERIES, VALUE = "series", "value"
MIN_HEIGHT, MAX_HEIGHT = 40, 2000


@dataclass(frozen=True)
class Names:
    """Where the names of a field's ids are: in a list of the response, beside the same field."""

    field: str
    section: Section
    name: str


@dataclass(frozen=True, kw_only=True)
class RowsChart:
    """A picture of rows.

    Attributes:
        description: what it shows, for those who do not see it.
        kinds: the kind of each field that the encoding may name, by its public name.
        labels: the text of each such field.
        fold: the fields that become rows.
        height: of the drawing, in pixels; 0 for Vega-Lite's own.
        independent: channels whose scale differs between the small charts of a facet.
    """

    name: str
    title: str
    description: str
    mark: Mapping[str, Any]
    encoding: Mapping[str, Any]
    kinds: Mapping[str, Kind]
    labels: Mapping[str, str]
    fold: tuple[str, ...] = ()
    height: int = 0
    independent: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Chart(RowsChart):
    """A picture of the rows of one section of an endpoint's response.

    Attributes:
        section: whose rows are drawn.
        params: parameters of the endpoint that this chart sets.
        names: what is shown in place of ids.
    """

    section: Section
    params: Mapping[str, str] = field(default_factory=dict)
    names: Names | None = None


def read_charts(exposure: Mapping[str, Any], endpoint: Endpoint) -> tuple[Chart, ...]:
    """The charts of an endpoint's exposure, in the order of the YAML.

    Raises:
        ContractError: a chart is invalid; it names the exposure and the chart, and says why.
    """
    where = f"exposure {endpoint.name}"
    items = exposure["config"]["meta"].get("charts", [])
    if not isinstance(items, Sequence) or isinstance(items, str) or not all(isinstance(item, Mapping) for item in items):
        raise ContractError(f"{where}: charts is not a list of charts", hint="Each has a name, a title, a mark and an encoding.")
    charts = tuple(_chart(where, item, endpoint) for item in items)
    names = [chart.name for chart in charts]
    for name in names:
        if names.count(name) > 1:
            raise ContractError(f"{where} has two charts named {name}", hint="Give one of them another name.")
    return charts


def default_label(name: str) -> str:
    """The text of a field without a label: "Open rate" for rates.open_rate."""
    text = name.rpartition(".")[2].replace("_", " ")
    return text[:1].upper() + text[1:]


def _chart(where: str, item: Mapping[str, Any], endpoint: Endpoint) -> Chart:
    name = item.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ContractError(
            f"{where} has a chart without a valid name: {name!r}", hint="Add one in lower case, for example {name: engagement}."
        )
    where = f"chart {name} of {where}"
    check_keys(item, CHART_KEYS, where)
    for key in ("title", "mark", "encoding"):
        if not item.get(key):
            raise ContractError(f"{where} has no {key}", hint="A chart needs name, title, mark and encoding.")
    section = _section(where, item.get("view"), endpoint)
    kinds = {_public_name(shown.group, shown.name): shown.kind for shown in section.fields}
    fold = tuple(item.get("fold", ()))
    for folded in fold:
        _check_field(where, folded, kinds)
    if fold:
        different = {TYPE_BY_KIND[kinds[folded]] for folded in fold}
        if different != {"quantitative"}:
            raise ContractError(
                f"{where} folds a field that is not a number",
                hint="fold takes only columns of numbers, because all of them become the field `value`.",
            )
        kinds |= {SERIES: "string", VALUE: "number"}
    labels = item.get("labels", {})
    for labelled in labels:
        _check_field(where, labelled, kinds)
    height = item.get("height", 0)
    if height and (not isinstance(height, int) or isinstance(height, bool) or not MIN_HEIGHT <= height <= MAX_HEIGHT):
        raise ContractError(f"{where}: the height {height!r} is invalid", hint=f"{MIN_HEIGHT} to {MAX_HEIGHT} pixels.")
    encoding = item["encoding"]
    _check_encoding(where, encoding, kinds)
    return Chart(
        name=name,
        title=str(item["title"]).strip(),
        description=str(item.get("description", "")).strip(),
        section=section,
        mark=_mark(where, item["mark"]),
        encoding=encoding,
        kinds=kinds,
        labels={known: str(labels.get(known) or default_label(known)) for known in kinds},
        fold=fold,
        params=_params(where, item.get("params", {}), endpoint),
        names=_names(where, item.get("names"), kinds, endpoint),
        height=height,
        independent=_independent(where, item.get("independent", ()), encoding),
    )


def _section(where: str, view: str | None, endpoint: Endpoint) -> Section:
    shown = {section.name: section for section in endpoint.sections if not section.not_found_error}
    if view is None:
        lists = [section for section in shown.values() if section.is_list]
        return (lists or list(shown.values()))[0]
    if view not in shown:
        raise ContractError(f"{where}: {view} is not a view of the endpoint's response", hint=suggest(str(view), shown))
    return shown[view]


def _public_name(group: str, name: str) -> str:
    return f"{group}.{name}" if group else name


def _mark(where: str, mark: Any) -> Mapping[str, Any]:
    result = mark if isinstance(mark, Mapping) else {"type": mark}
    check_keys(result, MARK_KEYS, f"the mark of {where}")
    if result.get("type") not in MARKS:
        raise ContractError(f"{where}: unknown mark {result.get('type')}", hint=suggest(str(result.get("type")), MARKS))
    return result


def _check_encoding(where: str, encoding: Any, kinds: Mapping[str, Kind]) -> None:
    if not isinstance(encoding, Mapping):
        raise ContractError(f"{where}: encoding is not a mapping", hint="For example {x: {field: date}, y: {field: sent}}.")
    for channel, definitions in encoding.items():
        if channel not in CHANNELS:
            raise ContractError(f"{where}: unknown channel {channel}", hint=suggest(str(channel), CHANNELS))
        for definition in definitions if isinstance(definitions, list) else [definitions]:
            if not isinstance(definition, Mapping):
                raise ContractError(
                    f"{where}: the channel {channel} is not a mapping", hint=f"Write it like {{{channel}: {{field: date}}}}."
                )
            check_keys(definition, CHANNEL_KEYS, f"the channel {channel} of {where}")
            if definition.get("type", TYPES[0]) not in TYPES:
                raise ContractError(
                    f"{where}: the channel {channel} has the unknown type {definition['type']}",
                    hint=suggest(str(definition["type"]), TYPES),
                )
            for named in _named_fields(definition):
                _check_field(where, named, kinds)


def _named_fields(node: Any) -> Iterator[Any]:
    """Every `field` of a channel, also of its sort and its condition."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "field":
                yield value
            else:
                yield from _named_fields(value)
    elif isinstance(node, list):
        for item in node:
            yield from _named_fields(item)


def _independent(where: str, channels: Any, encoding: Mapping[str, Any]) -> tuple[str, ...]:
    if isinstance(channels, str):
        raise ContractError(f"{where}: independent is not a list", hint=f"Write it like [{channels}].")
    for channel in channels:
        if channel not in encoding:
            raise ContractError(
                f"{where}: independent names {channel}, which it does not encode", hint=suggest(channel, encoding)
            )
    return tuple(channels)


def _names(where: str, item: Any, kinds: Mapping[str, Kind], endpoint: Endpoint) -> Names | None:
    if item is None:
        return None
    if not isinstance(item, Mapping) or set(item) != {"field", "view", "name"}:
        raise ContractError(
            f"{where}: names is not a mapping of field, view and name",
            hint="For example {field: campaign_id, view: comparison, name: campaign_name}.",
        )
    lists = {section.name: section for section in endpoint.sections if section.is_list}
    if item["view"] not in lists:
        raise ContractError(
            f"{where}: {item['view']} is not a list of the endpoint's response", hint=suggest(str(item["view"]), lists)
        )
    section = lists[item["view"]]
    _check_field(where, item["field"], kinds)
    if "." in item["field"]:
        raise ContractError(f"{where}: names has a field of a group", hint="Use a field that is not in a group.")
    of_list = {_public_name(shown.group, shown.name): shown.kind for shown in section.fields}
    for name in (item["field"], item["name"]):
        if name not in of_list:
            raise ContractError(f"{where}: {section.name} has no field {name}", hint=suggest(str(name), of_list))
    return Names(item["field"], section, item["name"])


def _check_field(where: str, name: Any, kinds: Mapping[str, Kind]) -> None:
    if name not in kinds:
        raise ContractError(f"{where}: its view has no field {name}", hint=suggest(str(name), kinds))


def _params(where: str, params: Any, endpoint: Endpoint) -> dict[str, str]:
    if not isinstance(params, Mapping):
        raise ContractError(f"{where}: params is not a mapping", hint="For example {granularity: hour}.")
    for name, value in params.items():
        if name not in endpoint.parameters:
            raise ContractError(f"{where}: its endpoint has no parameter {name}", hint=suggest(str(name), endpoint.parameters))
        choices = endpoint.parameters[name] or PARAMETERS[name].choices
        if value not in choices:
            raise ContractError(f"{where}: {name} has no choice {value}", hint=suggest(str(value), choices))
    return dict(params)
