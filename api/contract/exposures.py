"""Reads dbt's manifest, or the part of it that a publication carries, into endpoints.

An exposure with `config.meta.endpoint` is an endpoint:

    {path: "/campaigns/{campaignId}/analytics", limit: 100, parameters: [timeRange, groupBy],
     response: [{object: campaign_performance, on_empty: CAMPAIGN_NOT_FOUND}, {list: campaign_series, path: time_series}]}

`object` is a view's first row, `list` all of its rows; `path` is where it goes in `data` (dotted; default: `data` itself).
`on_empty` is the code of the 404 if an `object` has no row; with `nullable` it is null instead. `not_found_if_rows` is the
reverse: the view lists the ids that the request names and that do not exist, and its first row is a 404 with the code `error`.

`defaults` are the values of list parameters that a request does not have: {metrics: [open_rate, click_rate]}; without it, all.

An endpoint whose `method` is post takes its parameters in a JSON body. `cache: false`: the response also changes with the clock,
so it is not cached.

A column's `config.meta` says how it is shown: `group` (an object inside the section), `alias` (its public name), `hidden`,
`example`, `nullable`, and `if_param`: only if a parameter has a value ({granularity: hour}), or if a list parameter (metrics)
has the column's name. A model's `config.meta.schema_names` names its objects in the document: "." is the row itself, any other
name is a `group` of its columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from api.contract.parameters import PARAMETERS, PATH_PARAMETERS
from api.errors import NOT_FOUND, ContractError

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


SECTION_KEYS = {"object", "list", "not_found_if_rows", "path", "on_empty", "error", "nullable"}


@dataclass(frozen=True)
class Field:
    """A column that is shown.

    Attributes:
        group: the object inside the section that it belongs to; '' for the section itself.
        if_param: the parameter and the value (or one of the values) without which it is not shown; ('', '') for always.
    """

    column: str
    name: str
    group: str
    kind: Kind
    description: str
    example: Any
    is_nullable: bool
    if_param: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Section:
    """What a view gives to a response.

    Attributes:
        name: the view's own name.
        view: the view's quoted, qualified name.
        is_list: all rows as a list, or the first row as an object.
        path: where the section goes in `data`; () for `data` itself.
        fields: the columns that are shown, in the view's order.
        on_empty: the code of the 404 if there is no row; '' if an empty section is an answer.
        not_found_error: the code of the 404 if there is a row, whose first field is the id that does not exist.
        is_nullable: without a row it is null.
        schema_names: names of the objects in the document, by `group`; '.' is the row.
    """

    name: str
    view: str
    is_list: bool
    path: tuple[str, ...]
    fields: tuple[Field, ...]
    on_empty: str
    not_found_error: str
    is_nullable: bool
    schema_names: Mapping[str, str]


@dataclass(frozen=True)
class Endpoint:
    """One operation of the API. `path` is below the workspace's; `limit` is requests a minute of a workspace."""

    name: str
    label: str
    description: str
    method: Literal["get", "post"]
    path: str
    limit: int
    path_parameters: tuple[str, ...]
    parameters: Mapping[str, tuple[str, ...]]
    sections: tuple[Section, ...]
    is_cached: bool = True
    # the value of each list parameter without which a request comes
    defaults: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def operation_id(self) -> str:
        """What a method of an SDK is called: getCampaignAnalytics for campaign_analytics; compareCampaigns for a post's name."""
        first, *others = self.name.split("_") if self.method == "post" else [self.method, *self.name.split("_")]
        return first + "".join(word[:1].upper() + word[1:] for word in others)


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
    check_keys(
        meta, {"method", "path", "limit", "parameters", "defaults", "response", "cache"}, f"the endpoint of exposure {name}"
    )
    try:
        path, limit, response = meta["path"], meta["limit"], meta["response"]
    except KeyError as missing:
        raise ContractError(
            f"the endpoint of exposure {name} has no {missing.args[0]}",
            hint="An endpoint has path, limit (requests a minute) and response; parameters where it takes some.",
        ) from None
    if not isinstance(limit, int) or limit < 1:
        raise ContractError(
            f"exposure {name}: the limit {limit!r} is none", hint="It is so many requests a minute, a whole number from 1 on."
        )
    method: Literal["get", "post"] = meta.get("method", "get")
    if method not in ("get", "post"):
        raise ContractError(f"exposure {name}: the method {method} is not one that is generated")
    if not exposure.get("description"):
        raise ContractError(f"exposure {name} has no description", hint="It is what the operation's users read.")
    models = models_of(exposure, nodes)
    sections = tuple(read_section(name, part, models) for part in response)
    _places_are_distinct(name, sections)
    parameters = _parameters(name, meta.get("parameters", []))
    defaults = _column_choices(name, sections, parameters, meta.get("defaults", {}))
    return Endpoint(
        name=name,
        label=exposure.get("label") or name.replace("_", " "),
        description=exposure["description"].strip(),
        method=method,
        path=path,
        limit=limit,
        path_parameters=_path_parameters(name, path),
        parameters=parameters,
        sections=sections,
        is_cached=bool(meta.get("cache", True)),
        defaults=defaults,
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


def _column_choices(
    name: str, sections: Iterable[Section], parameters: dict[str, tuple[str, ...]], listed: Mapping[str, list[str]]
) -> dict[str, tuple[str, ...]]:
    """Puts the choices that are columns into `parameters`, those of the default first; the defaults."""
    shown = [field.if_param for section in sections for field in section.fields]
    defaults: dict[str, tuple[str, ...]] = {}
    for parameter in parameters:
        if not PARAMETERS[parameter].chooses_columns:
            continue
        columns = [value for of, value in dict.fromkeys(shown) if of == parameter]
        if not columns:
            raise ContractError(
                f"exposure {name}: {parameter} has no choice", hint=f"Its choices are columns with `if_param: {parameter}`."
            )
        defaults[parameter] = tuple(listed.get(parameter, columns))
        parameters[parameter] = (*defaults[parameter], *(column for column in columns if column not in defaults[parameter]))
        if set(defaults[parameter]) - set(columns):
            raise ContractError(f"exposure {name}: a default of {parameter} is not among its choices {', '.join(columns)}")
    for parameter in listed:
        if parameter not in defaults:
            raise ContractError(f"exposure {name}: {parameter} is no list parameter, so it has no defaults")
    return defaults


def models_of(exposure: Mapping[str, Any], nodes: Mapping[str, Any]) -> dict[str, Any]:
    """The models that an exposure depends on, by their names."""
    return {nodes[unique_id]["name"]: nodes[unique_id] for unique_id in exposure["depends_on"]["nodes"] if unique_id in nodes}


def view_name(model: Mapping[str, Any]) -> str:
    """A model's view, qualified and quoted."""
    return f'"{model["schema"]}"."{model["alias"]}"'


def read_section(name: str, part: Mapping[str, Any], models: Mapping[str, Any]) -> Section:
    """A section of the exposure `name`, out of the models that it depends on.

    Raises:
        ContractError: it cannot be one.
    """
    check_keys(part, SECTION_KEYS, f"a section of exposure {name}")
    kinds = [kind for kind in ("object", "list", "not_found_if_rows") if kind in part]
    if len(kinds) != 1:
        raise ContractError(f"exposure {name}: a section has one of object, list, not_found_if_rows: {dict(part)}")
    kind, view = kinds[0], str(part[kinds[0]])
    if view not in models:
        raise ContractError(
            f"exposure {name}: the view {view} is not among what it depends on",
            hint=f"Add ref('{view}') to its depends_on; the view has to be a model of marts.",
        )
    model = models[view]
    if kind == "list" and not part.get("path"):
        raise ContractError(f"exposure {name}: the list {view} needs a path")
    if (kind == "not_found_if_rows") != ("error" in part):
        raise ContractError(f"exposure {name}: not_found_if_rows and error go together", hint="error is the code of the 404.")
    for code in (part.get("on_empty"), part.get("error")):
        if code and code not in NOT_FOUND:
            raise ContractError(
                f"exposure {name}: nothing is known of the code {code}", hint=f"Known are {', '.join(NOT_FOUND)}."
            )
    return Section(
        name=view,
        view=view_name(model),
        is_list=kind == "list",
        path=tuple(part["path"].split(".")) if part.get("path") else (),
        fields=tuple(_field(view, column) for column in model["columns"].values() if not _meta(column).get("hidden")),
        on_empty=part.get("on_empty", ""),
        not_found_error=part.get("error", ""),
        is_nullable=bool(part.get("nullable", False)),
        schema_names=model.get("config", {}).get("meta", {}).get("schema_names", {}),
    )


def _field(view: str, column: Mapping[str, Any]) -> Field:
    where = f"column {column['name']} of {view}"
    meta = _meta(column)
    check_keys(meta, {"group", "alias", "hidden", "example", "nullable", "if_param"}, where)
    data_type = re.sub(r"\(.*\)", "", (column.get("data_type") or "").lower()).strip()
    if data_type not in KINDS:
        raise ContractError(
            f"{where} has the type {column.get('data_type')!r}, which is not shown",
            hint=f"Give it a data_type of {', '.join(KINDS)}; or hide it (meta: hidden).",
        )
    if not column.get("description"):
        raise ContractError(f"{where} has no description", hint="It is what the API's users read.")
    name = meta.get("alias", column["name"])
    return Field(
        column=column["name"],
        name=name,
        group=meta.get("group", ""),
        kind=KINDS[data_type],
        description=column["description"].strip(),
        example=meta.get("example"),
        is_nullable=bool(meta.get("nullable", False)),
        if_param=_condition(where, name, meta.get("if_param")),
    )


def _condition(where: str, name: str, given: str | Mapping[str, str] | None) -> tuple[str, str]:
    if given is None:
        return ("", "")
    parameter, value = (given, name) if isinstance(given, str) else next(iter(given.items()))
    if parameter not in PARAMETERS:
        raise ContractError(f"{where} is shown when {parameter}, of which nothing is known")
    return (parameter, str(value))


def _places_are_distinct(name: str, sections: Iterable[Section]) -> None:
    taken: set[tuple[str, ...]] = set()
    for section in sections:
        if section.not_found_error:
            continue
        if section.is_list:
            places = [section.path]
        else:
            places = [(*section.path, *filter(None, [field.group]), field.name) for field in section.fields]
        for place in places:
            if place in taken:
                raise ContractError(f"exposure {name}: two columns have the same path {'.'.join(place)}")
            taken.add(place)


def _meta(column: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = column.get("config", {}).get("meta", {})
    return found


def check_keys(given: Mapping[str, Any], known: set[str], where: str) -> None:
    """
    Raises:
        ContractError: a key is not among the known ones; `where` says whose.
    """
    for key in given:
        if key not in known:
            raise ContractError(f"{where} has {key}, which nothing reads", hint=f"Known are {', '.join(sorted(known))}.")
