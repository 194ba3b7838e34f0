"""Reads dbt's manifest, or the part of it that a publication stores, into types of export.

An exposure with `config.meta.export` is a type of export. If it also has an `endpoint`, the export has that endpoint's sections
and parameters, so both show the same numbers:

    {type: campaign_performance, units: campaigns, series: campaign_series, table: campaign_performance}

`units`: what the export repeats the endpoint's response for. Without it: the workspace, once. `campaigns`: the requested
campaigns, or all. `campaigns_asked_for`: the requested campaigns, or the workspace. `table`: the view in formats that have one
table (default: the first section's). `series`: the view that `include_time_series` adds.

An exposure without an endpoint exports the rows of one view:

    {type: messages, parameters: [campaign_ids], list: messages}

The exposure with `config.meta.query` exports what a query in the request asks for: {type: query}.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import marshmallow as ma

from api.contract.exposures import Endpoint, Section, check_keys, check_parameter, models_of, read_section, view_name
from api.contract.parameters import parameter_fields
from api.contract.suggestions import suggest
from api.errors import ContractError

Units = Literal["workspace", "campaigns", "campaigns_asked_for"]
UNITS: tuple[Units, ...] = ("workspace", "campaigns", "campaigns_asked_for")
KEYS_WITH_ENDPOINT = ("series", "table", "type", "units")
KEYS_WITHOUT_ENDPOINT = ("list", "parameters", "type")
KEYS_OF_QUERIES = ("type",)
# every export has these parameters in another form
COMMON_PARAMETERS = {"timeRange", "time_range", "campaignId"}
# the exposure of this name lists the views that every export reads
SUPPORT_EXPOSURE = "exports"


@dataclass(frozen=True)
class ExportType:
    """A type of export.

    Attributes:
        units: what the sections are repeated for.
        sections: the views, as in the endpoint's response; without those that only answer 404.
        table: the view in formats that have one table.
        series: the view that is included if a time series is requested; '' for none.
        parameters: the endpoint's parameters, by their names in an export's body.
        is_rows: the export is one list of rows, maybe millions.
        is_query: the export is the answer to a query in the request; it has no sections.
        choices: the allowed values of list parameters that choose columns.
        defaults: the values of list parameters that a body does not have.
        endpoint: the name of the endpoint with the same numbers; '' for none.
    """

    name: str
    description: str
    units: Units
    sections: tuple[Section, ...]
    table: str
    series: str
    parameters: Mapping[str, str]
    is_rows: bool
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    defaults: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_query: bool = False
    endpoint: str = ""

    def field(self, parameter: str) -> ma.fields.Field[Any]:
        """The field of an endpoint's parameter."""
        return parameter_fields(parameter, self.choices.get(parameter, ()), self.defaults.get(parameter, ()))[parameter]

    @property
    def takes_campaigns(self) -> bool:
        """Whether the request may name campaigns."""
        return self.units != "workspace" or "campaign_ids" in self.parameters


@dataclass(frozen=True)
class Catalogue:
    """All types of export, by name, and the views that every export reads ('' if the contract has no exports)."""

    types: Mapping[str, ExportType] = field(default_factory=dict)
    campaigns_view: str = ""
    size_view: str = ""
    unknown_campaigns_view: str = ""
    unknown_domains_view: str = ""


def read_catalogue(manifest: Mapping[str, Any], endpoints: Sequence[Endpoint]) -> Catalogue:
    """The types of export of a manifest whose endpoints are read already.

    Raises:
        ContractError: an exposure cannot become a type of export; it names the exposure and says why.
    """
    endpoint_by_name = {endpoint.name: endpoint for endpoint in endpoints}
    types: dict[str, ExportType] = {}
    views: dict[str, str] = {}
    for exposure in manifest["exposures"].values():
        models = models_of(exposure, manifest["nodes"])
        if exposure["name"] == SUPPORT_EXPOSURE:
            views = {name: view_name(model) for name, model in models.items()}
        meta = exposure.get("config", {}).get("meta", {}).get("export")
        if meta is None:
            continue
        export_type = _export_type(exposure, meta, endpoint_by_name.get(exposure["name"]), models)
        if export_type.name in types:
            raise ContractError(
                f"two exposures have the export type {export_type.name}", hint="Give one of them another config.meta.export.type."
            )
        types[export_type.name] = export_type
    try:
        return Catalogue(
            dict(sorted(types.items())),
            views["export_campaigns"],
            views["export_size"],
            views["unknown_campaigns"],
            views["unknown_domains"],
        )
    except KeyError:
        # a publication that is older than exports
        return Catalogue()


def body_name(parameter: str) -> str:
    """A parameter's name in a body: time_range for timeRange."""
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), parameter)


def _export_type(
    exposure: Mapping[str, Any], meta: Mapping[str, Any], endpoint: Endpoint | None, models: Mapping[str, Any]
) -> ExportType:
    where = f"the export of exposure {exposure['name']}"
    is_query = "query" in exposure["config"]["meta"]
    check_keys(meta, KEYS_OF_QUERIES if is_query else KEYS_WITH_ENDPOINT if endpoint else KEYS_WITHOUT_ENDPOINT, where)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(meta.get("type", ""))):
        raise ContractError(f"{where} has no valid type", hint="Add one in lower case, for example {type: campaign_performance}.")
    units = meta.get("units", "workspace")
    if units not in UNITS:
        raise ContractError(f"{where} has the unknown units {units}", hint=suggest(str(units), UNITS))
    description = str(exposure.get("description") or "").strip()
    if is_query:
        return ExportType(meta["type"], description, "workspace", (), "", "", {}, is_rows=False, is_query=True)
    if endpoint is None:
        if "list" not in meta:
            raise ContractError(f"{where} has no list", hint="Without an endpoint, list is the view whose rows are exported.")
        sections: tuple[Section, ...] = (read_section(exposure["name"], {"list": meta["list"], "path": meta["list"]}, models),)
        parameters = list(meta.get("parameters", []))
    else:
        # what a parameter adds to a response is no part of an export, and neither is the parameter
        sections = tuple(section for section in endpoint.sections if not section.not_found_error and section.if_param == ("", ""))
        additions = {section.if_param[0] for section in endpoint.sections}
        parameters = [parameter for parameter in endpoint.parameters if parameter not in additions]
    for parameter in parameters:
        check_parameter(parameter, where)
    section_names = [section.name for section in sections]
    series = str(meta.get("series", ""))
    table = str(meta.get("table") or section_names[0])
    for key, view in (("table", table), ("series", series)):
        if view and view not in section_names:
            raise ContractError(f"{where}: {key} is {view}, which is not one of its views", hint=suggest(view, section_names))
    return ExportType(
        name=meta["type"],
        description=description,
        units=units,
        sections=sections,
        table=table,
        series=series,
        parameters={body_name(parameter): parameter for parameter in parameters if parameter not in COMMON_PARAMETERS},
        is_rows=endpoint is None,
        choices={name: endpoint.parameters[name] for name in endpoint.defaults} if endpoint else {},
        defaults=endpoint.defaults if endpoint else {},
        endpoint=endpoint.name if endpoint else "",
    )
