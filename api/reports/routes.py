"""The operations on reports: make, list, read, change, remove; and their runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
import orjson
from flask import Response
from flask_smorest import Blueprint

from api.auth.guard import RequestGuard
from api.contract.export_types import Catalogue
from api.contract.publication import PublicationCache
from api.db.pool import ConnectionPool
from api.errors import INVALID, NotFound, NothingPublished, ValidationFailed
from api.exports.prepare import plan_export
from api.exports.schemas import PageQuery
from api.net.ssrf import Network
from api.reports.repository import MAX_REPORTS, Report, ReportRepository, new_report_id, schedule_columns
from api.reports.schemas import (
    list_schema,
    report_body,
    report_schema,
    request_schemas,
    run_body,
    run_schema,
    schedule_of,
)
from api.reports.webhook import new_secret
from api.web.operations import Operation, ResponseSpec, authorized_workspace, operations_blueprint
from api.web.pagination import decode_cursor, encode_cursor
from api.web.responses import empty_response, resource_response
from api.web.schemas import data_schema

View = Callable[..., Response]
READ_LIMIT = 30
WRITE_LIMIT = 10
REPORT_ID = {"name": "reportId", "description": "Report identifier", "example": "rep_xyz123"}
LOCATION = {"Location": {"description": "Where the report is.", "schema": {"type": "string"}}}
ONE = "/analytics/reports/{reportId}"


@dataclass(frozen=True)
class ReportServices:
    """What the operations need; webhooks may go to public addresses and to the allowed networks."""

    pool: ConnectionPool
    publications: PublicationCache
    guard: RequestGuard
    catalogue: Catalogue
    webhook_allowed_networks: tuple[Network, ...]


def reports_blueprint(services: ReportServices) -> Blueprint:
    """The routes, below the workspace."""
    books = ReportRepository(services.pool)
    report = report_schema(services.catalogue)
    answer = data_schema("ReportResponse", ma.fields.Nested(report, required=True))
    new, changes = request_schemas(services.catalogue, services.webhook_allowed_networks)

    def operation(operation_id: str, name: str, label: str, description: str, method: str, path: str, **more: Any) -> Operation:
        limit = READ_LIMIT if method == "get" else WRITE_LIMIT
        parts = (REPORT_ID,) if "{reportId}" in path else ()
        return Operation(
            operation_id, name, label, description, method, path, limit, scope="reports", path_parameters=parts, **more
        )

    return operations_blueprint(
        "Reports",
        "Exports by a timetable, and whom they are sent to.",
        [
            (
                operation(
                    "createReport",
                    "report_creation",
                    "Create a report",
                    "An export that is made daily, weekly or monthly, and sent by e-mail, to a webhook, or to nobody: its runs"
                    " and their exports are here in any case. The secret that webhooks are signed with is shown this once.",
                    "post",
                    "/analytics/reports",
                    arguments=new,
                    responses={201: ResponseSpec(answer, "The report.", LOCATION)},
                ),
                _create(services, books),
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
                    responses={200: ResponseSpec(list_schema("ReportList", "reports", report), "A page of them.")},
                ),
                _list(books),
            ),
            (
                operation(
                    "getReport",
                    "report",
                    "Get a report",
                    "What is sent when and to whom, and when next.",
                    "get",
                    ONE,
                    responses={200: ResponseSpec(answer, "The report.")},
                ),
                _get(books),
            ),
            (
                operation(
                    "updateReport",
                    "report_change",
                    "Change a report",
                    "What is given is changed, and the rest stays; `export` and `schedule` are given whole. A change of the"
                    " schedule counts from now on.",
                    "patch",
                    ONE,
                    arguments=changes,
                    responses={200: ResponseSpec(answer, "The report as it is now.")},
                ),
                _change(services, books),
            ),
            (
                operation(
                    "deleteReport",
                    "report_deletion",
                    "Delete a report",
                    "It and its runs are gone; the exports that they made stay.",
                    "delete",
                    ONE,
                    responses={204: ResponseSpec(None, "Done.")},
                ),
                _delete(books),
            ),
            (
                operation(
                    "listReportRuns",
                    "report_runs",
                    "List a report's runs",
                    "When it ran, what became of it and whom it reached, newest first. The file is found at the export.",
                    "get",
                    f"{ONE}/runs",
                    arguments=PageQuery,
                    responses={200: ResponseSpec(list_schema("ReportRunList", "runs", run_schema()), "A page of them.")},
                ),
                _runs(books),
            ),
        ],
        services.guard,
    )


def _create(services: ReportServices, books: ReportRepository) -> View:
    def create(body: dict[str, Any], path: Mapping[str, str]) -> Response:
        workspace_id = authorized_workspace()
        now = datetime.now(UTC)
        schedule = schedule_of(body["schedule"])
        secret = new_secret() if body["webhook_url"] else None
        made = books.create(
            workspace_id,
            new_report_id(),
            {
                "name": body["name"],
                "request": _checked_export(services, workspace_id, body["export"], now),
                **schedule_columns(schedule),
                "recipients": body["recipients"],
                "webhook_url": body["webhook_url"],
                "webhook_secret": secret,
                "is_enabled": body["is_enabled"],
                "next_run_at": schedule.next_run(now) if body["is_enabled"] else None,
            },
        )
        if made is None:
            said = f"The workspace has {MAX_REPORTS} reports, which is as many as there can be"
            raise ValidationFailed(said, details={"body": ["Delete a report first."]})
        location = f"/api/v1/workspaces/{path['workspaceId']}/analytics/reports/{made.report_id}"
        return resource_response(report_body(made, secret), 201, {"Location": location})

    return create


def _list(books: ReportRepository) -> View:
    def list_them(query: dict[str, Any], path: Mapping[str, str]) -> Response:
        limit = query["limit"]
        before = decode_cursor(query["cursor"]) if "cursor" in query else None
        found = books.page(authorized_workspace(), limit + 1, before)
        shown = found[:limit]
        more = encode_cursor(shown[-1].created_at, shown[-1].report_id) if len(found) > limit else None
        return resource_response({"reports": [report_body(report) for report in shown], "next_cursor": more})

    return list_them


def _get(books: ReportRepository) -> View:
    def get(path: Mapping[str, str]) -> Response:
        return resource_response(report_body(_found(books, path)))

    return get


def _change(services: ReportServices, books: ReportRepository) -> View:
    def change(body: dict[str, Any], path: Mapping[str, str]) -> Response:
        workspace_id = authorized_workspace()
        now = datetime.now(UTC)
        columns = _simple_changes(body)
        if "export" in body:
            columns["request"] = _checked_export(services, workspace_id, body["export"], now)
        fresh = new_secret()
        shown: list[str] = []

        def changed(report: Report) -> dict[str, Any]:
            made = {**columns, **_webhook_changes(body, report, fresh), **_schedule_changes(body, report, now)}
            if shown:
                # asked again, because the connection died: what finds its own secret there would neither make one nor show it
                made["webhook_secret"] = fresh
            elif made.get("webhook_secret"):
                shown.append(fresh)
            return made

        report = books.change(workspace_id, _readable(path), changed)
        if report is None:
            raise _not_found(path)
        return resource_response(report_body(report, shown[0] if shown else None))

    return change


def _simple_changes(body: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {name: body[name] for name in ("name", "is_enabled") if name in body}
    if "recipients" in body:
        changes["recipients"] = body["recipients"] or []
    return changes


def _webhook_changes(body: Mapping[str, Any], report: Report, fresh: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    url = body.get("webhook_url", report.webhook_url)
    if "webhook_url" in body:
        # given, it is on, whatever became of it before
        changes = {"webhook_url": url, "webhook_failures": 0, "webhook_disabled_at": None}
    if url is None and body.get("rotate_webhook_secret"):
        raise ValidationFailed(INVALID, details={"rotate_webhook_secret": ["There is no webhook."]})
    if url is None and report.webhook_url is not None:
        changes["webhook_secret"] = None
    if url is not None and (report.webhook_url is None or body.get("rotate_webhook_secret")):
        changes["webhook_secret"] = fresh
    return changes


def _schedule_changes(body: Mapping[str, Any], report: Report, now: datetime) -> dict[str, Any]:
    schedule = schedule_of(body["schedule"]) if "schedule" in body else report.schedule
    is_enabled = body.get("is_enabled", report.is_enabled)
    changes = schedule_columns(schedule) if "schedule" in body else {}
    if "schedule" in body or is_enabled != report.is_enabled:
        changes["next_run_at"] = schedule.next_run(now) if is_enabled else None
    return changes


def _delete(books: ReportRepository) -> View:
    def delete(path: Mapping[str, str]) -> Response:
        if not books.delete(authorized_workspace(), _readable(path)):
            raise _not_found(path)
        return empty_response()

    return delete


def _runs(books: ReportRepository) -> View:
    def runs(query: dict[str, Any], path: Mapping[str, str]) -> Response:
        limit = query["limit"]
        before = decode_cursor(query["cursor"]) if "cursor" in query else None
        report = _found(books, path)
        found = books.runs(authorized_workspace(), report.report_id, limit + 1, before)
        shown = found[:limit]
        more = encode_cursor(shown[-1].scheduled_for, shown[-1].run_id) if len(found) > limit else None
        return resource_response({"runs": [run_body(run) for run in shown], "next_cursor": more})

    return runs


def _checked_export(services: ReportServices, workspace_id: str, body: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """An export's body as it is stored, once it is one that could be made now.

    Raises:
        ValidationFailed: something in it does not go with the type.
        NotFound: a campaign or a domain is not in the workspace.
    """
    publication = services.publications.require()
    if not services.catalogue.types:
        raise NothingPublished
    try:
        plan_export(services.pool.query, services.catalogue, publication, workspace_id, body, now.date())
    except ValidationFailed as error:
        problems = [f"{name}: {problem}" for name, found in (error.details or {}).items() for problem in found]
        raise ValidationFailed(error.message, details={"export": problems}) from error
    stored: dict[str, Any] = orjson.loads(orjson.dumps(body))
    return stored


def _found(books: ReportRepository, path: Mapping[str, str]) -> Report:
    report = books.find(authorized_workspace(), _readable(path))
    if report is None:
        raise _not_found(path)
    return report


def _readable(path: Mapping[str, str]) -> str:
    """The report's id; none has a NUL, which PostgreSQL cannot read."""
    if "\0" in path["reportId"]:
        raise _not_found(path)
    return path["reportId"]


def _not_found(path: Mapping[str, str]) -> NotFound:
    return NotFound("REPORT_NOT_FOUND", id=path["reportId"], workspace=path["workspaceId"])
