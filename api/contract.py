"""Reads dbt's manifest, or the part of it that a publication carries, into endpoints.

An exposure with `config.meta.endpoint` is an endpoint:

    {path: "/campaigns/{campaignId}/analytics", limit: 100, parameters: [timeRange, groupBy],
     response: [{row: campaign_performance, empty: CAMPAIGN_NOT_FOUND}, {rows: campaign_series, at: time_series}]}

`row` takes a view's first row, `rows` all of them; `at` is where it goes in `data` (dotted, default: `data` itself); `empty` is
the code of the 404 when a `row` has none. A column's `config.meta` says how it is shown: `in` (an object inside the section),
`as` (its public name), `hidden`, `example`, `nullable`. A model's `config.meta.schema_names` names its objects in the document:
"." is the row itself, otherwise the name is the `in` of its columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from api.errors import ContractError
from api.parameters import PARAMETERS, PATH_PARAMETERS

Kind = Literal["integer", "number", "string", "boolean", "date", "date-time"]

KINDS: dict[str, Kind] = {
    "bigint": "integer",
    "integer": "integer",
    "int": "integer",
    "smallint": "integer",
    "numeric": "number",
    "double precision": "number",
    "text": "string",
    "boolean": "boolean",
    "date": "date",
    "timestamp with time zone": "date-time",
    "timestamptz": "date-time",
}


@dataclass(frozen=True)
class Field:
    """A column that is shown: where (`inside`, '' for the section itself), under which name, of which kind."""

    column: str
    name: str
    inside: str
    kind: Kind
    description: str
    example: Any
    is_nullable: bool


@dataclass(frozen=True)
class Section:
    """What a view gives to a response.

    Attributes:
        view: the view's quoted, qualified name.
        is_list: all rows as a list, or the first row as an object.
        at: the path in `data`; () for `data` itself.
        fields: the columns that are shown, in the view's order.
        empty: the code of the 404 when there is no row; '' where an empty section is an answer.
        schema_names: names of the objects in the document, by `inside`; '.' is the row.
    """

    view: str
    is_list: bool
    at: tuple[str, ...]
    fields: tuple[Field, ...]
    empty: str
    schema_names: Mapping[str, str]


@dataclass(frozen=True)
class Endpoint:
    """One operation of the API. `path` is below the workspace's; `limit` is requests a minute of a workspace."""

    name: str
    label: str
    description: str
    method: Literal["get"]
    path: str
    limit: int
    path_parameters: tuple[str, ...]
    parameters: Mapping[str, tuple[str, ...]]
    sections: tuple[Section, ...]

    @property
    def operation_id(self) -> str:
        """getCampaignAnalytics for campaign_analytics: what a method of an SDK is called."""
        words = self.name.split("_")
        return self.method + "".join(word[:1].upper() + word[1:] for word in words)


def read_contract(manifest: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    """The endpoints of a manifest, by path.

    Raises:
        ContractError: an exposure cannot be an endpoint; it names the exposure and what is wrong.
    """
    endpoints = [
        _endpoint(exposure, manifest["nodes"])
        for exposure in manifest["exposures"].values()
        if "endpoint" in exposure.get("config", {}).get("meta", {})
    ]
    seen: dict[tuple[str, str], str] = {}
    for endpoint in endpoints:
        other = seen.setdefault((endpoint.method, endpoint.path), endpoint.name)
        if other != endpoint.name:
            raise ContractError(f"the exposures {other} and {endpoint.name} have the same path {endpoint.path}")
    return tuple(sorted(endpoints, key=lambda endpoint: endpoint.path))


def _endpoint(exposure: Mapping[str, Any], nodes: Mapping[str, Any]) -> Endpoint:
    name = exposure["name"]
    meta = exposure["config"]["meta"]["endpoint"]
    _only(meta, {"method", "path", "limit", "parameters", "response"}, f"the endpoint of exposure {name}")
    try:
        path, limit, response = meta["path"], meta["limit"], meta["response"]
    except KeyError as missing:
        raise ContractError(
            f"the endpoint of exposure {name} has no {missing.args[0]}",
            hint="An endpoint has path, limit (requests a minute) and response; parameters where it takes some.",
        ) from None
    if meta.get("method", "get") != "get":
        raise ContractError(f"exposure {name}: the method {meta['method']} is not one that is generated")
    if not exposure.get("description"):
        raise ContractError(f"exposure {name} has no description", hint="It is what the operation's users read.")
    models = {nodes[unique_id]["name"]: nodes[unique_id] for unique_id in exposure["depends_on"]["nodes"] if unique_id in nodes}
    sections = tuple(_section(name, part, models) for part in response)
    _places_are_distinct(name, sections)
    return Endpoint(
        name=name,
        label=exposure.get("label") or name.replace("_", " "),
        description=exposure["description"].strip(),
        method="get",
        path=path,
        limit=int(limit),
        path_parameters=_path_parameters(name, path),
        parameters=_parameters(name, meta.get("parameters", [])),
        sections=sections,
    )


def _path_parameters(name: str, path: str) -> tuple[str, ...]:
    if not re.fullmatch(r"(/([a-z][a-z0-9-]*|\{[a-zA-Z]+\}))+", path):
        raise ContractError(
            f"exposure {name}: the path {path!r} is none",
            hint='A path is like "/campaigns/{campaignId}/analytics", below the workspace.',
        )
    found = tuple(re.findall(r"\{(\w+)\}", path))
    for parameter in found:
        if parameter not in PATH_PARAMETERS:
            raise ContractError(
                f"exposure {name}: nothing is known of the path's parameter {parameter}",
                hint=f"Known are {', '.join(PATH_PARAMETERS)}.",
            )
    return found


def _parameters(name: str, listed: Iterable[str | Mapping[str, list[str]]]) -> dict[str, tuple[str, ...]]:
    """Parameter → the choices that it is narrowed to; () for all."""
    found: dict[str, tuple[str, ...]] = {}
    for item in listed:
        for parameter, choices in item.items() if isinstance(item, Mapping) else [(item, [])]:
            if parameter not in PARAMETERS:
                raise ContractError(
                    f"exposure {name}: nothing is known of the parameter {parameter}",
                    hint=f"Known are {', '.join(PARAMETERS)}.",
                )
            for choice in choices:
                if choice not in PARAMETERS[parameter].choices:
                    raise ContractError(f"exposure {name}: {parameter} has no choice {choice}")
            found[parameter] = tuple(choices)
    return found


def _section(name: str, part: Mapping[str, Any], models: Mapping[str, Any]) -> Section:
    _only(part, {"row", "rows", "at", "empty"}, f"a section of exposure {name}")
    if ("row" in part) == ("rows" in part):
        raise ContractError(f"exposure {name}: a section names a view either as row or as rows: {dict(part)}")
    view = str(part.get("row") or part.get("rows"))
    if view not in models:
        raise ContractError(
            f"exposure {name}: the view {view} is not among what it depends on",
            hint=f"Add ref('{view}') to its depends_on; the view has to be a model of marts.",
        )
    model = models[view]
    is_list = "rows" in part
    if is_list and not part.get("at"):
        raise ContractError(f"exposure {name}: rows of {view} need a place: at")
    return Section(
        view=f'"{model["schema"]}"."{model["alias"]}"',
        is_list=is_list,
        at=tuple(part["at"].split(".")) if part.get("at") else (),
        fields=tuple(_field(view, column) for column in model["columns"].values() if not _meta(column).get("hidden")),
        empty=part.get("empty", ""),
        schema_names=model.get("config", {}).get("meta", {}).get("schema_names", {}),
    )


def _field(view: str, column: Mapping[str, Any]) -> Field:
    where = f"column {column['name']} of {view}"
    meta = _meta(column)
    _only(meta, {"in", "as", "hidden", "example", "nullable"}, where)
    data_type = re.sub(r"\(.*\)", "", (column.get("data_type") or "").lower()).strip()
    if data_type not in KINDS:
        raise ContractError(
            f"{where} has the type {column.get('data_type')!r}, which is not shown",
            hint=f"Give it a data_type of {', '.join(KINDS)}; or hide it (meta: hidden).",
        )
    if not column.get("description"):
        raise ContractError(f"{where} has no description", hint="It is what the API's users read.")
    return Field(
        column=column["name"],
        name=meta.get("as", column["name"]),
        inside=meta.get("in", ""),
        kind=KINDS[data_type],
        description=column["description"].strip(),
        example=meta.get("example"),
        is_nullable=bool(meta.get("nullable", False)),
    )


def _places_are_distinct(name: str, sections: Iterable[Section]) -> None:
    taken: set[tuple[str, ...]] = set()
    for section in sections:
        if section.is_list:
            places = [section.at]
        else:
            places = [(*section.at, *filter(None, [field.inside]), field.name) for field in section.fields]
        for place in places:
            if place in taken:
                raise ContractError(f"exposure {name}: two columns come to the same place {'.'.join(place)}")
            taken.add(place)


def _meta(column: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = column.get("config", {}).get("meta", {})
    return found


def _only(given: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in given:
        if key not in known:
            raise ContractError(f"{where} has {key}, which nothing reads", hint=f"Known are {', '.join(sorted(known))}.")
