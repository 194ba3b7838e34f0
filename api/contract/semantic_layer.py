"""Reads dbt's semantic layer, from the manifest or from what a publication stores of it: metrics, dimensions, and facts.

A publication also has the SQL of each metric, which macros/semantic/metrics.sql writes. Nothing here knows what it is made of.

An exposure with `config.meta.query` is the endpoint that answers queries:

    {path: /analytics/query, limit: 60, position: 7}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from api.contract.exposures import KINDS, LAST, Kind, check_keys, view_name
from api.errors import ContractError

Basis = Literal["sent", "event"]
BASES: tuple[Basis, ...] = ("sent", "event")
QUERY_KEYS = ("limit", "path", "position")
# names of fields of a response's rows and of `order_by`
RESERVED = ("time",)
# granularity -> the mart that has all buckets of a window
NAMES_VIEW = "query_names"
BUCKET_VIEWS = {"hour": "query_hours", "day": "query_days", "week": "query_days", "month": "query_days"}


@dataclass(frozen=True)
class Metric:
    """A metric that can be queried.

    Attributes:
        unit: count, number or percent.
        formula: over other metrics, for readers; '' for a count.
        columns: the measures that it is computed from.
        sql: its value, of a row of sums with these columns.
        low_sql, high_sql: its 95 % confidence interval; '' if it has none.
        change_sql: of its values "current" and "previous".
    """

    name: str
    label: str
    description: str
    unit: str = ""
    formula: str = ""
    columns: tuple[str, ...] = ()
    sql: str = ""
    low_sql: str = ""
    high_sql: str = ""
    change_sql: str = ""


@dataclass(frozen=True)
class Dimension:
    """A dimension that metrics can be split and filtered by."""

    name: str
    label: str
    description: str
    kind: Kind


@dataclass(frozen=True)
class Fact:
    """A view that answers queries.

    Attributes:
        mart: the name of the view's model.
        view: its quoted, qualified name.
        basis: whose day its rows belong to, that of sending or that of the event.
        size: of two facts that can answer, the one with the smaller size does.
        resolution_minutes: how exact the times of its rows are; None if they are days of UTC.
        dimensions, columns: the names of its dimensions, and of its measures' columns.
    """

    name: str
    mart: str
    view: str
    basis: Basis
    size: float
    resolution_minutes: int | None
    dimensions: frozenset[str]
    columns: frozenset[str]


@dataclass(frozen=True)
class QueryEndpoint:
    """The operation that answers queries."""

    name: str
    label: str
    description: str
    path: str
    limit: int
    position: int


# compared by identity, so that what is made of a layer can be cached
@dataclass(frozen=True, eq=False)
class SemanticLayer:
    """What can be queried. Without an endpoint, nothing can be: the publication is older than queries.

    Attributes:
        metrics, dimensions: by name, in the order of the names.
        facts: the smallest first.
        bucket_views: granularity → the view that has all buckets of the window, in a column of that name.
        names_view: the view that has the display names of dimensions' values; '' in a publication without it.
        named: the dimensions whose values have display names.
    """

    endpoint: QueryEndpoint | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    dimensions: Mapping[str, Dimension] = field(default_factory=dict)
    facts: tuple[Fact, ...] = ()
    bucket_views: Mapping[str, str] = field(default_factory=dict)
    names_view: str = ""
    named: frozenset[str] = frozenset()


def read_semantic_layer(manifest: Mapping[str, Any]) -> SemanticLayer:
    """The semantic layer of a manifest.

    Raises:
        ContractError: two parts of it contradict each other, or its endpoint is invalid.
    """
    endpoint = _endpoint(manifest["exposures"])
    metrics = {
        metric["name"]: _metric(metric)
        for metric in manifest.get("metrics", {}).values()
        if not metric.get("config", {}).get("meta", {}).get("hidden")
    }
    models = [model for model in manifest.get("semantic_models", {}).values() if _view(model, manifest["nodes"])]
    dimensions: dict[str, Dimension] = {}
    for model in models:
        for item in model["dimensions"]:
            if item["type"] == "categorical":
                _add_dimension(dimensions, _dimension(item), model["name"])
    for name in dimensions:
        if name in metrics or name in RESERVED:
            raise ContractError(
                f"the dimension {name} has the name of {'a metric' if name in metrics else 'a field of rows'}",
                hint="Rename the dimension: a query can be ordered by both.",
            )
    for dimension in dimensions.values():
        if not dimension.description:
            raise ContractError(
                f"the dimension {dimension.name} has no description",
                hint="Add one to any semantic model that has it: the API's users read it in the OpenAPI document.",
            )
    facts = sorted((_fact(model, manifest["nodes"]) for model in models), key=lambda fact: (fact.size, fact.name))
    nodes = {node["name"]: node for node in manifest["nodes"].values() if node["name"] in {NAMES_VIEW, *BUCKET_VIEWS.values()}}
    return SemanticLayer(
        endpoint,
        dict(sorted(metrics.items())),
        dict(sorted(dimensions.items())),
        tuple(facts),
        {granularity: view_name(nodes[name]) for granularity, name in BUCKET_VIEWS.items() if name in nodes},
        view_name(nodes[NAMES_VIEW]) if NAMES_VIEW in nodes else "",
        _named(nodes.get(NAMES_VIEW, {}), dimensions),
    )


def _named(node: Mapping[str, Any], dimensions: Mapping[str, Dimension]) -> frozenset[str]:
    names = _meta(node).get("names_of", [])
    for name in names:
        if name not in dimensions or dimensions[name].kind != "string":
            raise ContractError(
                f"names_of of {NAMES_VIEW} has {name}, which is no dimension of texts",
                hint="Remove it there, or add the dimension to a semantic model.",
            )
    return frozenset(names)


def _endpoint(exposures: Mapping[str, Any]) -> QueryEndpoint | None:
    found = [exposure for exposure in exposures.values() if "query" in exposure.get("config", {}).get("meta", {})]
    if not found:
        return None
    if len(found) > 1:
        names = ", ".join(sorted(exposure["name"] for exposure in found))
        raise ContractError(f"several exposures have config.meta.query: {names}", hint="There is one endpoint for queries.")
    exposure = found[0]
    meta = exposure["config"]["meta"]["query"]
    where = f"the query of exposure {exposure['name']}"
    check_keys(meta, QUERY_KEYS, where)
    if not isinstance(meta.get("limit"), int) or not str(meta.get("path", "")).startswith("/"):
        raise ContractError(
            f"{where} has no valid path and limit",
            hint="For example {path: /analytics/query, limit: 60}; limit is the number of requests a minute.",
        )
    return QueryEndpoint(
        name=exposure["name"],
        label=exposure.get("label") or exposure["name"],
        description=(exposure.get("description") or "").strip(),
        path=meta["path"],
        limit=meta["limit"],
        position=meta.get("position", LAST),
    )


def _metric(metric: Mapping[str, Any]) -> Metric:
    return Metric(
        name=metric["name"],
        label=metric["label"],
        description=(metric.get("description") or "").strip(),
        unit=metric.get("unit", ""),
        formula=metric.get("formula", ""),
        columns=tuple(metric.get("columns", ())),
        sql=metric.get("sql", ""),
        low_sql=metric.get("low_sql", ""),
        high_sql=metric.get("high_sql", ""),
        change_sql=metric.get("change_sql", ""),
    )


def _dimension(item: Mapping[str, Any]) -> Dimension:
    data_type = _meta(item).get("data_type") or "text"
    if data_type not in KINDS:
        raise ContractError(
            f"the dimension {item['name']} has the unsupported type {data_type!r}",
            hint=f"Set config.meta.data_type to one of {', '.join(KINDS)}.",
        )
    name = item["name"]
    description = (item.get("description") or "").strip()
    return Dimension(name, item.get("label") or name.replace("_", " ").capitalize(), description, KINDS[data_type])


def _add_dimension(dimensions: dict[str, Dimension], dimension: Dimension, where: str) -> None:
    known = dimensions.setdefault(dimension.name, dimension)
    if known.kind != dimension.kind:
        raise ContractError(
            f"semantic model {where}: the dimension {dimension.name} is {dimension.kind}, and {known.kind} in another",
            hint="Dimensions with the same name have the same type everywhere: give them the same config.meta.data_type.",
        )
    if not known.description:
        dimensions[dimension.name] = dimension


def _fact(model: Mapping[str, Any], nodes: Mapping[str, Any]) -> Fact:
    meta = _meta(model)
    return Fact(
        name=model["name"],
        mart=_view(model, nodes)["name"],
        view=view_name(_view(model, nodes)),
        basis=meta["basis"],
        size=meta["size"],
        resolution_minutes=meta.get("resolution_minutes"),
        dimensions=frozenset(item["name"] for item in model["dimensions"] if item["type"] == "categorical"),
        columns=frozenset(measure.get("expr") or measure["name"] for measure in model["measures"]),
    )


def _view(model: Mapping[str, Any], nodes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node of a semantic model's view; {} if it is no mart of this manifest."""
    found: Mapping[str, Any] = next((nodes[node] for node in model["depends_on"]["nodes"] if node in nodes), {})
    return found


def _meta(node: Mapping[str, Any]) -> Mapping[str, Any]:
    meta: Mapping[str, Any] = (node.get("config") or {}).get("meta") or {}
    return meta
