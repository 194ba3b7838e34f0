"""The operations on reports: create, list, get, change, delete; and list their runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import marshmallow as ma
import orjson
from flask import Response
from flask_smorest import Blueprint

from api.auth.guard import RequestGuard
from api.contract.contract import Contract
from api.contract.publication import PublicationCache
from api.db.pool import ConnectionPool
from api.errors import INVALID, LimitExceeded, NotFound, NothingPublished, ValidationFailed
from api.exports.plan import plan_export
from api.exports.query.plan import sentences
from api.exports.request_schemas import PageQuery
from api.exports.response_schemas import page_response_schema
from api.net.ssrf import Network
from api.reports.repository import MAX_REPORTS, Report, ReportRepository, new_report_id, schedule_columns
from api.reports.request_schemas import parse_schedule, request_schemas
from api.reports.response_schemas import report_body, report_schema, run_body, run_schema
from api.reports.webhook_signature import new_secret
from api.web.operations import Operation, ResponseSpec, authorized_workspace, operations_blueprint
from api.web.pagination import list_page
from api.web.paths import resource_path
from api.web.responses import empty_response, resource_response
from api.web.schemas import data_schema

View = Callable[..., Response]
READ_LIMIT = 30
WRITE_LIMIT = 10
REPORT_ID = {"name": "reportId", "description": "Report identifier", "example": "rep_xyz123"}
LOCATION = {"Location": {"description": "The URL of the report.", "schema": {"type": "string"}}}
CURSOR_EXAMPLE = "MjAyNS0xMS0yNlQxMDowMDowMFp8cmVwX3h5ejEyMw"
REPORT_PATH = "/analytics/reports/{reportId}"


@dataclass(frozen=True)
class ReportServices:
    """The services that the operations use, and the private networks that webhooks may use."""

    pool: ConnectionPool
    publications: PublicationCache
    guard: RequestGuard
    contract: Contract
    webhook_allowed_networks: tuple[Network, ...]
    # of the public URL
    public_path: str


def reports_blueprint(services: ReportServices) -> Blueprint:
    """The operations, below /workspaces/{workspaceId}."""
    reports = ReportRepository(services.pool)
    report = report_schema(services.contract)
    response = data_schema("ReportResponse", ma.fields.Nested(report, required=True))
    report_page = page_response_schema("ReportList", "reports", report, CURSOR_EXAMPLE)
    run_page = page_response_schema("ReportRunList", "runs", run_schema(), CURSOR_EXAMPLE)
    new, changes = request_schemas(services.contract, services.webhook_allowed_networks)

    def operation(operation_id: str, name: str, label: str, description: str, method: str, path: str, **more: Any) -> Operation:
        limit = READ_LIMIT if method == "get" else WRITE_LIMIT
        parts = (REPORT_ID,) if "{reportId}" in path else ()
        more.setdefault("not_found", ("REPORT_NOT_FOUND",) if parts else ("CAMPAIGN_NOT_FOUND", "DOMAIN_NOT_FOUND"))
        return Operation(
            operation_id, name, label, description, method, path, limit, scope="reports", path_parameters=parts, **more
        )

    return operations_blueprint(
        "Reports",
        "Exports on a schedule, sent by e-mail or to a webhook.",
        [
            (
                operation(
                    "createReport",
                    "report_creation",
                    "Create a report",
                    "Creates an export that runs daily, weekly or monthly. Each run can be sent by e-mail and to a webhook; it"
                    " is listed with its export. Only this response contains the secret that signs webhooks.",
                    "post",
                    "/analytics/reports",
                    arguments=new,
                    responses={201: ResponseSpec(response, "The report.", LOCATION)},
                ),
                _create(services, reports),
            ),
            (
                operation(
                    "listReports",
                    "report_list",
                    "List reports",
                    "The workspace's reports, newest first.",
                    "get",
                    "/analytics/reports",
                    arguments=PageQuery,
                    responses={200: ResponseSpec(report_page, "A page of reports.")},
                ),
                _list(reports),
            ),
            (
                operation(
                    "getReport",
                    "report",
                    "Get a report",
                    "A report: its export, schedule, recipients and next run.",
                    "get",
                    REPORT_PATH,
                    responses={200: ResponseSpec(response, "The report.")},
                ),
                _get(reports),
            ),
            (
                operation(
                    "updateReport",
                    "report_change",
                    "Change a report",
                    "Changes the fields in the body; all others stay. `export` and `schedule` are replaced as a whole. A new"
                    " schedule applies from now on.",
                    "patch",
                    REPORT_PATH,
                    arguments=changes,
                    responses={200: ResponseSpec(response, "The changed report.")},
                ),
                _change(services, reports),
            ),
            (
                operation(
                    "deleteReport",
                    "report_deletion",
                    "Delete a report",
                    "Deletes a report and its runs. Their exports stay.",
                    "delete",
                    REPORT_PATH,
                    responses={204: ResponseSpec(None, "Deleted.")},
                ),
                _delete(reports),
            ),
            (
                operation(
                    "listReportRuns",
                    "report_runs",
                    "List a report's runs",
                    "The runs of a report and their deliveries, newest first. To download the file of a run, get its export.",
                    "get",
                    f"{REPORT_PATH}/runs",
                    arguments=PageQuery,
                    responses={200: ResponseSpec(run_page, "A page of runs.")},
                ),
                _runs(reports),
            ),
        ],
        services.guard,
    )


def _create(services: ReportServices, reports: ReportRepository) -> View:
    def create(body: dict[str, Any], path: Mapping[str, str]) -> Response:
        workspace_id = authorized_workspace()
        now = datetime.now(UTC)
        schedule = parse_schedule(body["schedule"])
        secret = new_secret() if body["webhook_url"] else None
        columns = {
            "name": body["name"],
            "request": _checked_export(services, workspace_id, body["export"], now),
            **schedule_columns(schedule),
            "recipients": body["recipients"],
            "webhook_url": body["webhook_url"],
            "webhook_secret": secret,
            "is_enabled": body["is_enabled"],
            "next_run_at": schedule.next_run(now) if body["is_enabled"] else None,
        }
        with _recipients_checked():
            report = reports.create(workspace_id, new_report_id(), columns)
        if report is None:
            message = f"The workspace already has the maximum of {MAX_REPORTS} reports"
            raise ValidationFailed(message, details={"body": ["Delete a report first."]})
        location = resource_path(services.public_path, path["workspaceId"], f"reports/{report.report_id}")
        return resource_response(_body(reports, report, secret), 201, {"Location": location})

    return create


def _list(reports: ReportRepository) -> View:
    def list_reports(query: dict[str, Any], path: Mapping[str, str]) -> Response:
        page, next_cursor = list_page(
            query, partial(reports.page, authorized_workspace()), lambda report: (report.created_at, report.report_id)
        )
        opted_out = reports.opted_out(authorized_workspace(), page)
        return resource_response({"reports": [report_body(report, opted_out) for report in page], "next_cursor": next_cursor})

    return list_reports


def _get(reports: ReportRepository) -> View:
    def get(path: Mapping[str, str]) -> Response:
        return resource_response(_body(reports, _find(reports, path)))

    return get


def _change(services: ReportServices, reports: ReportRepository) -> View:
    def change(body: dict[str, Any], path: Mapping[str, str]) -> Response:
        workspace_id = authorized_workspace()
        now = datetime.now(UTC)
        columns = _simple_changes(body)
        if "export" in body:
            columns["request"] = _checked_export(services, workspace_id, body["export"], now)
        secret = new_secret()
        is_secret_new = False

        def changed_columns(report: Report) -> dict[str, Any]:
            nonlocal is_secret_new
            changes = {**columns, **_webhook_changes(body, report, secret), **_schedule_changes(body, report, now)}
            if is_secret_new:
                # a retry after a lost connection: the report may already have the new secret, which the response must contain
                changes["webhook_secret"] = secret
            elif changes.get("webhook_secret"):
                is_secret_new = True
            return changes

        with _recipients_checked():
            report = reports.change(workspace_id, _report_id(path), changed_columns)
        if report is None:
            raise _not_found(path)
        return resource_response(_body(reports, report, secret if is_secret_new else None))

    return change


def _simple_changes(body: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {name: body[name] for name in ("name", "is_enabled") if name in body}
    if "recipients" in body:
        changes["recipients"] = body["recipients"] or []
    return changes


def _webhook_changes(body: Mapping[str, Any], report: Report, secret: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    url = body.get("webhook_url", report.webhook_url)
    if "webhook_url" in body:
        # enables a webhook that was disabled
        changes = {"webhook_url": url, "webhook_failures": 0, "webhook_disabled_at": None}
    if url is None and body.get("rotate_webhook_secret"):
        raise ValidationFailed(INVALID, details={"rotate_webhook_secret": ["The report has no webhook."]})
    if url is None and report.webhook_url is not None:
        changes["webhook_secret"] = None
    if url is not None and (report.webhook_url is None or body.get("rotate_webhook_secret")):
        changes["webhook_secret"] = secret
    return changes


def _schedule_changes(body: Mapping[str, Any], report: Report, now: datetime) -> dict[str, Any]:
    schedule = parse_schedule(body["schedule"]) if "schedule" in body else report.schedule
    is_enabled = body.get("is_enabled", report.is_enabled)
    changes = schedule_columns(schedule) if "schedule" in body else {}
    if "schedule" in body or is_enabled != report.is_enabled:
        changes["next_run_at"] = schedule.next_run(now) if is_enabled else None
    return changes


def _delete(reports: ReportRepository) -> View:
    def delete(path: Mapping[str, str]) -> Response:
        if not reports.delete(authorized_workspace(), _report_id(path)):
            raise _not_found(path)
        return empty_response()

    return delete


def _runs(reports: ReportRepository) -> View:
    def runs(query: dict[str, Any], path: Mapping[str, str]) -> Response:
        report = _find(reports, path)
        page, next_cursor = list_page(
            query, partial(reports.runs, authorized_workspace(), report.report_id), lambda run: (run.scheduled_for, run.run_id)
        )
        return resource_response({"runs": [run_body(run) for run in page], "next_cursor": next_cursor})

    return runs


def _checked_export(services: ReportServices, workspace_id: str, body: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The body of an export request as stored, after it was validated by planning an export.

    Raises:
        ValidationFailed: a field does not apply to the export type, or its query cannot be answered.
        NotFound: a campaign or a domain is not in the workspace.
    """
    publication = services.publications.require()
    if not services.contract.catalogue.types:
        raise NothingPublished
    try:
        plan_export(services.pool.query, services.contract, publication, workspace_id, body, now.date())
    except ValidationFailed as error:
        raise ValidationFailed(error.message, details={"export": sentences(error)}) from error
    stored: dict[str, Any] = orjson.loads(orjson.dumps(body))
    return stored


def _body(reports: ReportRepository, report: Report, secret: str | None = None) -> dict[str, Any]:
    return report_body(report, reports.opted_out(report.workspace_id, [report]), secret)


@contextmanager
def _recipients_checked() -> Iterator[None]:
    """
    Raises:
        ValidationFailed: the workspace would have too many recipients.
    """
    try:
        yield
    except LimitExceeded as error:
        raise ValidationFailed(INVALID, details={"recipients": [error.message]}) from error


def _find(reports: ReportRepository, path: Mapping[str, str]) -> Report:
    report = reports.find(authorized_workspace(), _report_id(path))
    if report is None:
        raise _not_found(path)
    return report


def _report_id(path: Mapping[str, str]) -> str:
    """The report id of the path. PostgreSQL cannot store a NUL, so no report has such an id."""
    if "\0" in path["reportId"]:
        raise _not_found(path)
    return path["reportId"]


def _not_found(path: Mapping[str, str]) -> NotFound:
    return NotFound("REPORT_NOT_FOUND", id=path["reportId"], workspace=path["workspaceId"])
