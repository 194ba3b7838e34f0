"""Plans an export before it is created: resolves the request on the day it is made, checks its ids, and counts its work."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import marshmallow as ma
import psycopg

from api.contract.contract import Contract
from api.contract.export_types import Catalogue, ExportType
from api.contract.parameters import PARAMETERS, UNKNOWN_ZONE
from api.contract.publication import Publication
from api.db.request_context import tenant_settings
from api.errors import INVALID, NotFound, ValidationFailed
from api.exports.query.plan import CHECK_TIME_ZONE, plan_query
from api.exports.query.schemas import is_query

# runs statements in a request context, and returns the rows of each
ReadRows = Callable[[Mapping[str, str], Sequence[str]], list[list[tuple[Any, ...]]]]


@dataclass(frozen=True)
class ResolvedRequest:
    """A request body with its dates and defaults filled in. It is stored with the export.

    Attributes:
        context: settings of the request context, without workspace and batch.
        response_fields: fields of the response that describe the request (time_range).
        params: the endpoint's parameters, by the endpoint's names.
        campaign_ids: the requested campaigns; None for all.
        include_time_series: whether the export has the time series of its type.
        byte_order_mark: whether the CSV file begins with one.
    """

    context: dict[str, str]
    response_fields: dict[str, Any]
    params: dict[str, Any]
    campaign_ids: list[str] | None
    include_time_series: bool
    byte_order_mark: bool = False

    def to_json(self) -> dict[str, Any]:
        """As app.exports.resolved stores it."""
        return dict(vars(self))


@dataclass(frozen=True)
class ExportPlan:
    """What an export will contain, and how much work it is.

    Attributes:
        request: the resolved request.
        units_total: messages for exports of single messages, otherwise campaigns, or 1 for the whole workspace and for a query.
    """

    request: ResolvedRequest
    units_total: int


def plan_export(
    read: ReadRows, contract: Contract, publication: Publication, workspace_id: str, body: Mapping[str, Any], today: date
) -> ExportPlan:
    """Plans an export of a validated body on a day (UTC).

    Raises:
        ValidationFailed: a field does not apply to the export type, or its query cannot be answered.
        InvalidTimeRange: the dates are not a valid time range.
        NotFound: a campaign or a domain is not in the workspace.
    """
    catalogue = contract.catalogue
    if is_query(catalogue, body):
        return ExportPlan(_resolve_query_request(read, contract, publication, workspace_id, body, today), 1)
    request = resolve_request(body, catalogue, today)
    context = {**request.context, **tenant_settings(workspace_id, publication.batch_id)}
    unknown_campaigns, unknown_domains, sizes = read(
        context,
        [
            f"select campaign_id from {catalogue.unknown_campaigns_view}",  # noqa: S608 - view names of our own manifest
            f"select domain_id from {catalogue.unknown_domains_view}",  # noqa: S608
            f"select campaigns, messages from {catalogue.size_view}",  # noqa: S608
        ],
    )
    for code, rows in (("CAMPAIGN_NOT_FOUND", unknown_campaigns), ("DOMAIN_NOT_FOUND", unknown_domains)):
        if rows:
            raise NotFound(code, id=rows[0][0], workspace=workspace_id)
    (campaign_count, message_count) = sizes[0] if sizes else (0, 0)
    kind = catalogue.types[body["export_type"]]
    if kind.is_rows:
        return ExportPlan(request, message_count)
    is_whole = kind.units == "workspace" or (kind.units == "campaigns_asked_for" and request.campaign_ids is None)
    return ExportPlan(request, 1 if is_whole else campaign_count)


def resolve_request(body: Mapping[str, Any], catalogue: Catalogue, today: date) -> ResolvedRequest:
    """Resolves a validated body on a day (UTC).

    Raises:
        ValidationFailed: a field does not apply to the export type.
        InvalidTimeRange: the dates are not a valid time range.
    """
    kind = catalogue.types[body["export_type"]]
    _check_fields_of_type(body, kind)
    params = {parameter: _value_or_default(body, name, kind.field(parameter)) for name, parameter in kind.parameters.items()}
    params = {parameter: value for parameter, value in params.items() if value is not ma.missing}
    window = PARAMETERS["time_range"].resolve(body, today)
    context, response_fields = dict(window.settings), dict(window.response_fields)
    for parameter in kind.parameters.values():
        if parameter in params:
            resolved = PARAMETERS[parameter].resolve(params, today)
            context |= resolved.settings
            response_fields |= resolved.response_fields
    campaign_ids = body.get("campaign_ids")
    if campaign_ids is not None:
        context["mailmart.campaign_ids"] = json.dumps(campaign_ids)
    return ResolvedRequest(
        context, response_fields, params, campaign_ids, body["include_time_series"], body.get("byte_order_mark", False)
    )


def _resolve_query_request(
    read: ReadRows, contract: Contract, publication: Publication, workspace_id: str, body: Mapping[str, Any], today: date
) -> ResolvedRequest:
    """The context has the window and its time zone. All else is read from the request again when the file is written."""
    _check_fields_of_type(body, contract.catalogue.types[body["export_type"]])
    if "query" not in body:
        raise ValidationFailed(INVALID, details={"query": [f"Required for exports of type {body['export_type']}."]})
    planned = plan_query(contract.semantic_layer, body["query"], today)
    query = planned.query
    context = {
        "mailmart.range_start": query.first.isoformat(),
        "mailmart.range_end": query.last.isoformat(),
        "mailmart.timezone": query.timezone,
    }
    try:
        read({**context, **tenant_settings(workspace_id, publication.batch_id)}, [CHECK_TIME_ZONE])
    except psycopg.errors.InvalidParameterValue as error:
        raise ValidationFailed(INVALID, details={"query": [f"timezone: {UNKNOWN_ZONE}"]}) from error
    return ResolvedRequest(
        context, {"time_range": query.time_range(planned.period)}, {}, None, False, body.get("byte_order_mark", False)
    )


def _value_or_default(body: Mapping[str, Any], name: str, field: ma.fields.Field[Any]) -> Any:
    if name in body:
        return body[name]
    default = field.load_default
    return default() if callable(default) else default


def _check_fields_of_type(body: Mapping[str, Any], kind: ExportType) -> None:
    problems: dict[str, list[str]] = {}
    common = {"export_type", "format", "include_time_series", "byte_order_mark", *PARAMETERS["time_range"].fields(())}
    for name in body:
        is_of_type = (
            name in kind.parameters or (name == "campaign_ids" and kind.takes_campaigns) or (name == "query" and kind.is_query)
        )
        if name not in common and not is_of_type:
            problems[name] = [f"Not allowed for exports of type {kind.name}."]
    # a report that was stored before the option existed does not have it
    if body.get("byte_order_mark", False) and body["format"] != "csv":
        problems["byte_order_mark"] = ["Only allowed with the format csv."]
    if body["include_time_series"] and not kind.series:
        problems["include_time_series"] = [f"Exports of type {kind.name} have no time series."]
    if kind.parameters.get("campaign_ids") and not kind.is_rows:
        try:
            PARAMETERS["campaign_ids"].fields(())["campaign_ids"].deserialize(body.get("campaign_ids", ma.missing))
        except ma.ValidationError as error:
            problems["campaign_ids"] = [str(message) for message in error.messages]
    if problems:
        raise ValidationFailed(INVALID, details=problems)
