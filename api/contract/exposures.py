"""Reads dbt's manifest, or the part of it that a publication stores, into endpoints.

An exposure with `config.meta.endpoint` is an endpoint:

    {path: "/campaigns/{campaignId}/analytics", limit: 100, parameters: [timeRange, groupBy],
     response: [{object: campaign_performance, on_empty: CAMPAIGN_NOT_FOUND}, {list: campaign_series, path: time_series}]}

`object` is a view's first row, `list` all of its rows; `path` is where it goes in `data` (dotted; default: `data` itself).
`on_empty` is the code of the 404 if an `object` has no row; with `nullable` it is null instead. `not_found_if_rows` is the
reverse: the view lists the requested ids that do not exist, and its first row is a 404 with the code `error`.

`defaults` are the values of list parameters that a request does not have: {metrics: [open_rate, click_rate]}; without it, all.

A `list` with `page` has pages: api/contract/lists.py. A section with `if_param` is there only if a parameter has this value
({compare_to: previous_period}), or if the request has the parameter at all (timezone).

`position` is a number, by which the OpenAPI document lists the endpoints; those without one come last.

An endpoint whose `method` is post takes its parameters in a JSON body. `cache: false`: the response also changes with the clock,
so it is not cached.

A column's `config.meta` says how it appears in responses: `group` (an object inside the section), `alias` (its public name),
`hidden`, `example`, `nullable`, and `if_param`: only if a parameter has a value ({granularity: hour}), or if a list parameter
(metrics) contains the column's public name.

A model's `config.meta.schema_names` names its objects in the OpenAPI document: "." is the row itself, any other name is a
`group` of its columns. A group in its `config.meta.nullable_groups` is null if all of its columns are null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from api.contract.lists import ListPage, read_list_page
from api.contract.parameters import PARAMETERS, PATH_PARAMETERS
from api.contract.suggestions import suggest
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
ENDPOINT_KEYS = ("cache", "defaults", "limit", "method", "parameters", "path", "position", "response")
# of an endpoint without a position: after those that have one
LAST = 1_000_000
SECTION_KEYS = ("error", "if_param", "list", "not_found_if_rows", "nullable", "object", "on_empty", "page", "path")
COLUMN_KEYS = ("alias", "example", "group", "hidden", "if_param", "nullable")


@dataclass(frozen=True)
class Field:
    """A column that appears in responses.

    Attributes:
        group: the object inside the section that it belongs to; '' for the section itself.
        if_param: the field appears only if this parameter has (or contains) this value; ('', '') for always.
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
    """The part of a response that one view provides.

    Attributes:
        name: the view's own name.
        view: the view's quoted, qualified name.
        is_list: all rows as a list, or the first row as an object.
        path: where the section goes in `data`; () for `data` itself.
        fields: the columns that appear, in the view's order.
        on_empty: the code of the 404 if there is no row; '' if an empty section is allowed.
        not_found_error: the code of the 404 if there is a row; its first field is the id that does not exist.
        is_nullable: without a row, the section is null.
        schema_names: names of the section's objects in the OpenAPI document, by `group`; '.' is the row.
        nullable_groups: groups that are null if all of their columns are null.
        page: how the list is paged; None for a list with all rows, and for an object.
        if_param: the section is there only if this parameter has this value; ('', '') for always, (name, '') for any value.
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
    nullable_groups: frozenset[str] = frozenset()
    page: ListPage | None = None
    if_param: tuple[str, str] = ("", "")

    def is_shown(self, params: Mapping[str, Any]) -> bool:
        """Whether the response to these parameters has the section."""
        parameter, value = self.if_param
        return not parameter or (params.get(parameter) == value if value else parameter in params)


@dataclass(frozen=True)
class Endpoint:
    """One operation of the API.

    Attributes:
        path: below the workspace's path.
        limit: requests a minute for each workspace.
        parameters: name → the allowed choices; () for all.
        defaults: name of a list parameter → its value if the request has none.
        position: in the OpenAPI document.
    """

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
    defaults: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    position: int = LAST

    @property
    def page(self) -> ListPage | None:
        """How the endpoint's list is paged; None if it has no pages."""
        return next((section.page for section in self.sections if section.page), None)

    @property
    def operation_id(self) -> str:
        """The method's name in SDKs: getCampaignAnalytics for GET campaign_analytics; compareCampaigns for a POST."""
        first, *others = self.name.split("_") if self.method == "post" else [self.method, *self.name.split("_")]
        return first + "".join(word[:1].upper() + word[1:] for word in others)


def read_endpoints(manifest: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    """The endpoints of a manifest, ordered by position, then by path.

    Raises:
        ContractError: an exposure cannot become an endpoint; it names the exposure and says why.
    """
    endpoints = [
        _endpoint(exposure, manifest["nodes"])
        for exposure in manifest["exposures"].values()
        if "endpoint" in exposure.get("config", {}).get("meta", {})
    ]
    name_by_route: dict[tuple[str, str], str] = {}
    for endpoint in endpoints:
        other = name_by_route.setdefault((endpoint.method, endpoint.path), endpoint.name)
        if other != endpoint.name:
            raise ContractError(
                f"the exposures {other} and {endpoint.name} have the same path {endpoint.path}",
                hint="Give one of them another path.",
            )
    return tuple(sorted(endpoints, key=lambda endpoint: (endpoint.position, endpoint.path)))


def _endpoint(exposure: Mapping[str, Any], nodes: Mapping[str, Any]) -> Endpoint:
    name = exposure["name"]
    meta = exposure["config"]["meta"]["endpoint"]
    check_keys(meta, ENDPOINT_KEYS, f"the endpoint of exposure {name}")
    try:
        path, limit, response = meta["path"], meta["limit"], meta["response"]
    except KeyError as missing:
        raise ContractError(
            f"the endpoint of exposure {name} has no {missing.args[0]}",
            hint="An endpoint needs path, limit (requests a minute) and response; parameters are optional.",
        ) from None
    if not isinstance(limit, int) or limit < 1:
        raise ContractError(
            f"exposure {name}: the limit {limit!r} is not a positive whole number",
            hint="limit is the number of requests a minute.",
        )
    method: Literal["get", "post"] = meta.get("method", "get")
    if method not in ("get", "post"):
        raise ContractError(f"exposure {name}: the method {method} is not supported", hint="Use get or post.")
    if not exposure.get("description"):
        raise ContractError(
            f"exposure {name} has no description", hint="Add one: the API's users read it in the OpenAPI document."
        )
    models = models_of(exposure, nodes)
    sections = tuple(read_section(name, part, models) for part in response)
    _check_distinct_paths(name, sections)
    parameters = _parameters(name, meta.get("parameters", []))
    _check_pages(name, method, sections)
    _check_conditions(name, sections, parameters)
    defaults = _choose_columns(name, sections, parameters, meta.get("defaults", {}))
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
        position=_position(name, meta.get("position", LAST)),
    )


def _check_pages(name: str, method: str, sections: Iterable[Section]) -> None:
    paged = [section for section in sections if section.page]
    if len(paged) > 1:
        raise ContractError(
            f"exposure {name}: {' and '.join(section.name for section in paged)} both have a page",
            hint="A cursor belongs to one list. Make a second endpoint for the other list.",
        )
    if paged and method != "get":
        raise ContractError(f"exposure {name}: the list {paged[0].name} has a page, and the method is {method}", hint="Use get.")
    if any(section.path == ("next_cursor",) for section in sections if paged):
        raise ContractError(f"exposure {name}: a section has the path next_cursor", hint="It is the cursor of the next page.")


def _check_conditions(name: str, sections: Iterable[Section], parameters: Mapping[str, tuple[str, ...]]) -> None:
    for section in sections:
        parameter, value = section.if_param
        if not parameter:
            continue
        if parameter not in parameters:
            raise ContractError(
                f"exposure {name}: {section.name} is there only with {parameter}, which is not one of its parameters",
                hint=suggest(parameter, parameters),
            )
        choices = parameters[parameter] or PARAMETERS[parameter].choices
        if value and value not in choices:
            raise ContractError(f"exposure {name}: {parameter} has no choice {value}", hint=suggest(value, choices))


def _position(name: str, position: Any) -> int:
    if not isinstance(position, int) or isinstance(position, bool):
        raise ContractError(
            f"exposure {name}: the position {position!r} is not a whole number",
            hint="position is the endpoint's place in the OpenAPI document. Endpoints without a position come last.",
        )
    return position


def _path_parameters(name: str, path: str) -> tuple[str, ...]:
    if not re.fullmatch(r"(/([a-z][a-z0-9-]*|\{[a-zA-Z]+\}))+", path):
        raise ContractError(
            f"exposure {name}: the path {path!r} is invalid",
            hint='Write it like "/campaigns/{campaignId}/analytics": it starts with "/", has lower-case words and no workspace.',
        )
    parameters = tuple(re.findall(r"\{(\w+)\}", path))
    for parameter in parameters:
        if parameter not in PATH_PARAMETERS:
            raise ContractError(f"exposure {name}: unknown path parameter {parameter}", hint=suggest(parameter, PATH_PARAMETERS))
    return parameters


def _parameters(name: str, items: Iterable[str | Mapping[str, Sequence[str]]]) -> dict[str, tuple[str, ...]]:
    """Parameter → the choices that the endpoint allows; () for all."""
    parameters: dict[str, tuple[str, ...]] = {}
    for item in items:
        for parameter, choices in item.items() if isinstance(item, Mapping) else [(item, ())]:
            check_parameter(parameter, f"exposure {name}")
            for choice in choices:
                if choice not in PARAMETERS[parameter].choices:
                    raise ContractError(
                        f"exposure {name}: {parameter} has no choice {choice}",
                        hint=suggest(str(choice), PARAMETERS[parameter].choices),
                    )
            parameters[parameter] = tuple(choices)
    return parameters


def _choose_columns(
    name: str, sections: Iterable[Section], parameters: dict[str, tuple[str, ...]], defaults: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Sets the choices of list parameters to the columns that they choose, the default ones first. Returns the defaults."""
    conditions = dict.fromkeys(field.if_param for section in sections for field in section.fields)
    result: dict[str, tuple[str, ...]] = {}
    for parameter in parameters:
        if not PARAMETERS[parameter].chooses_columns:
            continue
        columns = [value for of_parameter, value in conditions if of_parameter == parameter]
        if not columns:
            raise ContractError(
                f"exposure {name}: {parameter} has no choice",
                hint=f"Its choices are columns with `if_param: {parameter}`; add one, or remove the parameter.",
            )
        result[parameter] = tuple(defaults.get(parameter, columns))
        for default in result[parameter]:
            if default not in columns:
                raise ContractError(
                    f"exposure {name}: the default {default} of {parameter} is not one of its choices",
                    hint=suggest(str(default), columns),
                )
        parameters[parameter] = (*result[parameter], *(column for column in columns if column not in result[parameter]))
    for parameter in defaults:
        if parameter not in result:
            raise ContractError(
                f"exposure {name}: {parameter} cannot have defaults",
                hint=f"defaults are only for the endpoint's list parameters. {suggest(str(parameter), result)}",
            )
    return result


def check_parameter(parameter: str, where: str) -> None:
    """
    Raises:
        ContractError: no parameter has this name; the message starts with `where`.
    """
    if parameter not in PARAMETERS:
        raise ContractError(f"{where}: unknown parameter {parameter}", hint=suggest(str(parameter), PARAMETERS))


def models_of(exposure: Mapping[str, Any], nodes: Mapping[str, Any]) -> dict[str, Any]:
    """The models that an exposure depends on, by name."""
    return {nodes[unique_id]["name"]: nodes[unique_id] for unique_id in exposure["depends_on"]["nodes"] if unique_id in nodes}


def view_name(model: Mapping[str, Any]) -> str:
    """The qualified, quoted name of a model's view."""
    return f'"{model["schema"]}"."{model["alias"]}"'


def read_section(name: str, part: Mapping[str, Any], models: Mapping[str, Any]) -> Section:
    """A section of the exposure `name`, from the models that it depends on.

    Raises:
        ContractError: the section is invalid.
    """
    where = f"exposure {name}"
    check_keys(part, SECTION_KEYS, f"a section of {where}")
    kinds = [kind for kind in ("object", "list", "not_found_if_rows") if kind in part]
    if len(kinds) != 1:
        raise ContractError(
            f"{where}: a section needs exactly one of object, list, not_found_if_rows: {dict(part)}",
            hint="object shows the view's first row, list shows all rows, not_found_if_rows answers 404 if there is a row.",
        )
    kind, view = kinds[0], str(part[kinds[0]])
    if view not in models:
        raise ContractError(
            f"{where} does not depend on a view {view}",
            hint=f"Add ref('{view}') to the exposure's depends_on; the view has to be a model of marts. {suggest(view, models)}",
        )
    model = models[view]
    if kind == "list" and not part.get("path"):
        raise ContractError(f"{where}: the list {view} needs a path", hint=f"For example {{list: {view}, path: {view}}}.")
    if (kind == "not_found_if_rows") != ("error" in part):
        raise ContractError(
            f"{where}: not_found_if_rows and error go together", hint="error is the code of the 404; write both or neither."
        )
    for code in (part.get("on_empty"), part.get("error")):
        if code and code not in NOT_FOUND:
            raise ContractError(f"{where}: unknown error code {code}", hint=suggest(str(code), NOT_FOUND))
    fields = tuple(_field(view, column) for column in model["columns"].values() if not _meta(column).get("hidden"))
    nullable_groups = frozenset(_meta(model).get("nullable_groups", []))
    groups = {shown.group for shown in fields if shown.group}
    for group in nullable_groups - groups:
        raise ContractError(f"{view} has the nullable group {group}, which no column has", hint=suggest(group, groups))
    if "if_param" in part and (kind == "not_found_if_rows" or not part.get("path")):
        raise ContractError(
            f"{where}: {view} has if_param and no path",
            hint="Only a section with a path of its own can be left out of a response.",
        )
    return Section(
        name=view,
        view=view_name(model),
        is_list=kind == "list",
        path=tuple(part["path"].split(".")) if part.get("path") else (),
        fields=fields,
        on_empty=part.get("on_empty", ""),
        not_found_error=part.get("error", ""),
        is_nullable=bool(part.get("nullable", False)),
        schema_names=_meta(model).get("schema_names", {}),
        nullable_groups=nullable_groups,
        page=read_list_page(where, part, view, models),
        if_param=_section_condition(where, view, part.get("if_param")),
    )


def _section_condition(where: str, view: str, if_param: Any) -> tuple[str, str]:
    if if_param is None:
        return ("", "")
    condition = {if_param: ""} if isinstance(if_param, str) else if_param
    if not isinstance(condition, Mapping) or len(condition) != 1:
        raise ContractError(
            f"{where}: if_param of {view} is {if_param!r}",
            hint="Name one parameter and its value, {compare_to: previous_period}; or only a parameter, timezone.",
        )
    ((parameter, value),) = condition.items()
    check_parameter(str(parameter), f"{where}, if_param of {view}")
    return (str(parameter), str(value))


def _field(view: str, column: Mapping[str, Any]) -> Field:
    where = f"column {column['name']} of {view}"
    meta = _meta(column)
    check_keys(meta, COLUMN_KEYS, where)
    data_type = re.sub(r"\(.*\)", "", (column.get("data_type") or "").lower()).strip()
    if data_type not in KINDS:
        raise ContractError(
            f"{where} has the unsupported type {column.get('data_type')!r}",
            hint=f"Set its data_type to one of {', '.join(KINDS)}; or hide the column (meta: {{hidden: true}}).",
        )
    if not column.get("description"):
        raise ContractError(f"{where} has no description", hint="Add one: the API's users read it in the OpenAPI document.")
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


def _condition(where: str, name: str, if_param: str | Mapping[str, str] | None) -> tuple[str, str]:
    if if_param is None:
        return ("", "")
    parameter, value = (if_param, name) if isinstance(if_param, str) else next(iter(if_param.items()))
    check_parameter(parameter, f"{where}, if_param")
    return (parameter, str(value))


def _check_distinct_paths(name: str, sections: Iterable[Section]) -> None:
    seen: set[tuple[str, ...]] = set()
    for section in sections:
        if section.not_found_error:
            continue
        if section.is_list:
            paths = [section.path]
        else:
            paths = [(*section.path, *filter(None, [field.group]), field.name) for field in section.fields]
        for path in paths:
            if path in seen:
                raise ContractError(
                    f"exposure {name}: two columns have the same path {'.'.join(path)}",
                    hint="Set another alias or group for one of them, or another path for its section.",
                )
            seen.add(path)


def _meta(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a column or a model."""
    meta: Mapping[str, Any] = node.get("config", {}).get("meta", {})
    return meta


def check_keys(mapping: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """
    Raises:
        ContractError: a key is unknown; the message starts with `where`.
    """
    for key in mapping:
        if key not in known:
            raise ContractError(f"{where} has the unknown key {key}", hint=suggest(str(key), known))
