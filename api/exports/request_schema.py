"""What an export's body may say, and what it comes to on the day that it is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import marshmallow as ma

from api.contract.export_types import Catalogue, ExportType
from api.contract.parameters import PARAMETERS, Id, are_distinct
from api.errors import INVALID, ValidationFailed
from api.exports.formats import FORMATS

# a whole body; fields that go with other types have examples of their own
EXAMPLE = {
    "export_type": "campaign_performance",
    "format": "csv",
    "time_range": "30d",
    "campaign_ids": ["cmp_abc123"],
    "include_time_series": True,
}
EXAMPLES = {"domain_id": "dom_abc123", "timezone": "America/New_York"}
MAX_CAMPAIGNS = 1000


class StrictBoolean(ma.fields.Boolean):
    """true or false, and nothing that could be meant so."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


@dataclass(frozen=True)
class Resolved:
    """What a body came to; it is stored with the export.

    Attributes:
        context: settings of the request context, without the workspace and the batch.
        shown: what answers say of the request (time_range).
        given: the endpoint's parameters, by the endpoint's names.
        campaign_ids: the campaigns named; None for all.
        include_time_series: whether the type's series is in it.
    """

    context: dict[str, str]
    shown: dict[str, Any]
    given: dict[str, Any]
    campaign_ids: list[str] | None
    include_time_series: bool

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        return dict(vars(self))


def export_fields(catalogue: Catalogue) -> dict[str, Any]:
    """The fields of a body, by name: what every export has, and what goes with some types."""
    fields: dict[str, Any] = {
        "export_type": ma.fields.String(
            required=True,
            validate=ma.validate.OneOf(list(catalogue.types)),
            metadata={"description": _described(catalogue), "example": "campaign_performance", "x-enum-name": "ExportType"},
        ),
        "format": ma.fields.String(
            required=True,
            validate=ma.validate.OneOf(list(FORMATS)),
            metadata={
                "description": "The file's format. csv, ndjson and parquet have one table; xlsx has a sheet for each;"
                " json has the objects that the endpoint answers with.",
                "example": "csv",
                "x-enum-name": "ExportFormat",
            },
        ),
        **PARAMETERS["time_range"].fields(()),
        "campaign_ids": ma.fields.List(
            Id(),
            validate=[ma.validate.Length(min=1, max=MAX_CAMPAIGNS), are_distinct],
            metadata={
                "description": f"1 to {MAX_CAMPAIGNS} campaigns, each once; without it, all. campaign_comparison needs 2 to 10.",
                "example": ["cmp_abc123"],
                "uniqueItems": True,
            },
        ),
        "include_time_series": StrictBoolean(
            load_default=False,
            metadata={
                "description": "With the counts of each bucket: in formats of one table, a row a campaign and bucket in place of"
                " a row a campaign. Of these types: " + ", ".join(name for name, kind in catalogue.types.items() if kind.series),
                "example": True,
            },
        ),
    }
    for kind in catalogue.types.values():
        for name, parameter in kind.parameters.items():
            if name not in fields:
                field = PARAMETERS[parameter].fields(())[parameter]
                # it goes with some types alone, and there the endpoint's default holds
                field.load_default = ma.missing
                field.metadata = {**field.metadata, **({"example": EXAMPLES[name]} if name in EXAMPLES else {})}
                fields[name] = field
    return fields


def export_schema(catalogue: Catalogue, name: str = "ExportRequest") -> type[ma.Schema]:
    """The schema of a body that asks for an export: what is not in it is refused."""

    class Meta:
        unknown = ma.RAISE
        register = False

    return type(name, (ma.Schema,), {**export_fields(catalogue), "Meta": Meta})


def resolve(body: Mapping[str, Any], catalogue: Catalogue, today: date) -> Resolved:
    """What a loaded body comes to on a day (UTC).

    Raises:
        ValidationFailed: something in it does not go with the type.
        InvalidTimeRange: its dates make no window.
    """
    kind = catalogue.types[body["export_type"]]
    _check_that_it_goes_together(body, kind)
    given = {parameter: _value(body, name, parameter) for name, parameter in kind.parameters.items()}
    given = {parameter: value for parameter, value in given.items() if value is not ma.missing}
    window = PARAMETERS["time_range"].resolve(body, today)
    context, shown = dict(window.settings), dict(window.response_fields)
    for parameter in kind.parameters.values():
        if parameter in given:
            resolved = PARAMETERS[parameter].resolve(given, today)
            context |= resolved.settings
            shown |= resolved.response_fields
    named = body.get("campaign_ids")
    if named is not None:
        context["mailmart.campaign_ids"] = json.dumps(named)
    return Resolved(context, shown, given, named, body["include_time_series"])


def _value(body: Mapping[str, Any], name: str, parameter: str) -> Any:
    if name in body:
        return body[name]
    default = PARAMETERS[parameter].fields(())[parameter].load_default
    return default() if callable(default) else default


def _check_that_it_goes_together(body: Mapping[str, Any], kind: ExportType) -> None:
    problems: dict[str, list[str]] = {}
    everywhere = {"export_type", "format", "include_time_series", *PARAMETERS["time_range"].fields(())}
    for name in body:
        if name not in everywhere and name not in kind.parameters and not (name == "campaign_ids" and kind.takes_campaigns):
            problems[name] = [f"Not for exports of the type {kind.name}."]
    if body["include_time_series"] and not kind.series:
        problems["include_time_series"] = [f"The type {kind.name} has no time series."]
    if kind.parameters.get("campaign_ids") and not kind.is_rows:
        try:
            PARAMETERS["campaign_ids"].fields(())["campaign_ids"].deserialize(body.get("campaign_ids", ma.missing))
        except ma.ValidationError as error:
            problems["campaign_ids"] = [str(message) for message in error.messages]
    if problems:
        raise ValidationFailed(INVALID, details=problems)


def _described(catalogue: Catalogue) -> str:
    parts = [f"{name}: {kind.description.split(':')[0].split('. ')[0]}." for name, kind in catalogue.types.items()]
    return "What is exported: the numbers of the endpoint of that name. " + " ".join(parts)
