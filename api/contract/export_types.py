"""Reads what can be exported out of a manifest, or the part of it that a publication carries.

An exposure with `config.meta.export` is a type of export. Beside an `endpoint` it has that one's sections and parameters, so an
export's numbers are the endpoint's:

    {type: campaign_performance, units: campaigns, series: campaign_series, table: campaign_performance}

`units`: what one answer of the endpoint is about, of which an export has as many as are asked for. Without it the workspace,
once; `campaigns`: every campaign, or those named; `campaigns_asked_for`: those named, and without any the workspace. `table` is
the view that formats of one table have (default: the first section's); `series` the one that `include_time_series` adds.

An exposure without an endpoint names one view whose rows are the export:

    {type: messages, parameters: [campaign_ids], list: messages}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import marshmallow as ma

from api.contract.exposures import Endpoint, Section, check_keys, models_of, read_contract, read_section, view_name
from api.contract.parameters import PARAMETERS, parameter_fields
from api.errors import ContractError

Units = Literal["workspace", "campaigns", "campaigns_asked_for"]
UNITS: tuple[Units, ...] = ("workspace", "campaigns", "campaigns_asked_for")
# parameters of endpoints that every export has in another form
EVERYWHERE = {"timeRange", "time_range", "campaignId"}
# what exports ask beside their own views: the models of the exposure of this name
SUPPORT = "exports"


@dataclass(frozen=True)
class ExportType:
    """What can be exported under a name.

    Attributes:
        units: what the sections are repeated for.
        sections: the views, as the endpoint answers with them; those that only refuse are not among them.
        table: the view of formats with one table.
        series: the view that is there where a time series is asked for; '' for none.
        parameters: the endpoint's parameters that go with it, by their names in an export's body.
        is_rows: each row is a thing of its own, and there may be millions.
        choices: the values of the parameters that choose columns.
        defaults: the values of list parameters that a body does not have.
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

    def field(self, parameter: str) -> ma.fields.Field[Any]:
        """The field of an endpoint's parameter."""
        return parameter_fields(parameter, self.choices.get(parameter, ()), self.defaults.get(parameter, ()))[parameter]

    @property
    def takes_campaigns(self) -> bool:
        """Whether campaigns can be named."""
        return self.units != "workspace" or "campaign_ids" in self.parameters


@dataclass(frozen=True)
class Catalogue:
    """All types of export, by name, and the views that every export asks; '' while none of this is published."""

    types: Mapping[str, ExportType]
    campaigns_view: str = ""
    size_view: str = ""
    unknown_campaigns_view: str = ""
    unknown_domains_view: str = ""


def read_catalogue(manifest: Mapping[str, Any]) -> Catalogue:
    """The types of export of a manifest.

    Raises:
        ContractError: an exposure cannot be exported; it names the exposure and what is wrong.
    """
    endpoints = {endpoint.name: endpoint for endpoint in read_contract(manifest)}
    types: dict[str, ExportType] = {}
    support: dict[str, Any] = {}
    for exposure in manifest["exposures"].values():
        if exposure["name"] == SUPPORT:
            support = models_of(exposure, manifest["nodes"])
        meta = exposure.get("config", {}).get("meta", {}).get("export")
        if meta is None:
            continue
        made = _type(exposure, meta, endpoints.get(exposure["name"]), models_of(exposure, manifest["nodes"]))
        if made.name in types:
            raise ContractError(f"two exposures are exported as {made.name}")
        types[made.name] = made
    views = {name: view_name(model) for name, model in support.items()}
    try:
        return Catalogue(
            dict(sorted(types.items())),
            views["export_campaigns"],
            views["export_size"],
            views["unknown_campaigns"],
            views["unknown_domains"],
        )
    except KeyError:
        # of before there were exports
        return Catalogue({})


def body_name(parameter: str) -> str:
    """A parameter's name in a body: time_range for timeRange."""
    return re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), parameter)


def _type(
    exposure: Mapping[str, Any], meta: Mapping[str, Any], endpoint: Endpoint | None, models: Mapping[str, Any]
) -> ExportType:
    where = f"the export of exposure {exposure['name']}"
    check_keys(meta, {"type", "units", "table", "series"} if endpoint else {"type", "parameters", "list"}, where)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(meta.get("type", ""))):
        raise ContractError(f"{where} has no type", hint="Name it: {type: campaign_performance}.")
    units = meta.get("units", "workspace")
    if units not in UNITS:
        raise ContractError(f"{where} is for each of {units}, of which nothing is known", hint=f"Known are {', '.join(UNITS)}.")
    if endpoint is None:
        if "list" not in meta:
            raise ContractError(f"{where} names no view", hint="Without an endpoint, rows is the view that is exported.")
        sections: tuple[Section, ...] = (read_section(exposure["name"], {"list": meta["list"], "path": meta["list"]}, models),)
        parameters = list(meta.get("parameters", []))
    else:
        sections = tuple(section for section in endpoint.sections if not section.not_found_error)
        parameters = list(endpoint.parameters)
    for parameter in parameters:
        if parameter not in PARAMETERS:
            raise ContractError(
                f"{where}: nothing is known of the parameter {parameter}", hint=f"Known are {', '.join(PARAMETERS)}."
            )
    series = str(meta.get("series", ""))
    table = str(meta.get("table") or sections[0].name)
    for view in filter(None, (table, series)):
        if view not in [section.name for section in sections]:
            raise ContractError(f"{where} names {view}, which is not among its views")
    return ExportType(
        name=meta["type"],
        description=str(exposure.get("description") or "").strip(),
        units=units,
        sections=sections,
        table=table,
        series=series,
        parameters={body_name(parameter): parameter for parameter in parameters if parameter not in EVERYWHERE},
        is_rows=endpoint is None,
        choices={name: endpoint.parameters[name] for name in endpoint.defaults} if endpoint else {},
        defaults=endpoint.defaults if endpoint else {},
    )
