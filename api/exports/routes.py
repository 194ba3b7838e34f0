"""The operations on exports: create, list, get, cancel or remove."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
from flask import Response, request
from flask_smorest import Blueprint

from api.auth.guard import RequestGuard
from api.contract.contract import Contract
from api.contract.publication import PublicationCache
from api.db.pool import ConnectionPool
from api.errors import INVALID, NotFound, NothingPublished, ValidationFailed
from api.exports.downloads import Downloads
from api.exports.plan import plan_export
from api.exports.repository import ExportRepository
from api.exports.request_schemas import EXAMPLE, PageQuery, export_schema
from api.exports.response_schemas import (
    PROCESSING_EXAMPLE,
    export_body,
    export_response_schema,
    export_status_schema,
    page_response_schema,
)
from api.web.operations import Operation, ResponseSpec, authorized_workspace, operations_blueprint
from api.web.pagination import list_page
from api.web.paths import resource_path
from api.web.responses import empty_response, resource_response

CURSOR_EXAMPLE = "MjAyNS0xMS0yNlQxMDowMDowMFp8ZXhwX3h5ejEyMw"
View = Callable[..., Response]
EXPORT_ID = {"name": "exportId", "description": "Export job identifier", "example": "exp_xyz123"}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "required": False,
    "description": "Identifies the request: a retry with the same key and body returns the same export.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
LOCATION = {"Location": {"description": "The URL of the export.", "schema": {"type": "string"}}}


@dataclass(frozen=True)
class ExportServices:
    """The services that the operations use."""

    pool: ConnectionPool
    publications: PublicationCache
    guard: RequestGuard
    downloads: Downloads
    contract: Contract
    # of the public URL
    public_path: str


def exports_blueprint(services: ExportServices) -> Blueprint:
    """The operations, below /workspaces/{workspaceId}."""
    status = export_status_schema()
    response = export_response_schema(status)
    page = page_response_schema("ExportList", "exports", status, CURSOR_EXAMPLE)
    exports = ExportRepository(services.pool)
    return operations_blueprint(
        "Exports",
        "Analytics data as files.",
        [
            (
                Operation(
                    operation_id="createExport",
                    name="exports",
                    label="Export analytics data",
                    description="Creates a file with the data of an endpoint, with single messages, or with all rows of a query."
                    " The file is written in the background: poll the export for its progress and the download link. A workspace"
                    " has a quota of exports that are processing, and of bytes of files: 429 `QUOTA_EXCEEDED`.",
                    method="post",
                    path="/analytics/export",
                    limit=10,
                    scope="export",
                    arguments=export_schema(services.contract),
                    example=EXAMPLE,
                    demo_fields={"campaign_ids": ["cmp_demo_1"]},
                    not_found=("CAMPAIGN_NOT_FOUND", "DOMAIN_NOT_FOUND"),
                    headers=(IDEMPOTENCY_KEY,),
                    responses={
                        202: ResponseSpec(
                            response, "The export was created and is processing.", LOCATION, example=PROCESSING_EXAMPLE
                        )
                    },
                ),
                _create(services, exports),
            ),
            (
                Operation(
                    operation_id="listExports",
                    name="export_list",
                    label="List exports",
                    description="The workspace's exports, newest first.",
                    method="get",
                    path="/analytics/exports",
                    limit=60,
                    scope="export",
                    arguments=PageQuery,
                    responses={200: ResponseSpec(page, "A page of exports.")},
                ),
                _list(services, exports),
            ),
            (
                Operation(
                    operation_id="getExport",
                    name="export_status",
                    label="Get export status",
                    description="An export's progress. If it is completed, the response contains a new download link, valid for"
                    " an hour.",
                    method="get",
                    path="/analytics/exports/{exportId}",
                    limit=60,
                    scope="export",
                    path_parameters=(EXPORT_ID,),
                    not_found=("EXPORT_NOT_FOUND",),
                    responses={200: ResponseSpec(response, "The export.")},
                ),
                _get(services, exports),
            ),
            (
                Operation(
                    operation_id="deleteExport",
                    name="export_deletion",
                    label="Cancel or remove an export",
                    description="An export that is processing is canceled and stays in the list. Any other export is removed,"
                    " together with its file.",
                    method="delete",
                    path="/analytics/exports/{exportId}",
                    limit=60,
                    scope="export",
                    path_parameters=(EXPORT_ID,),
                    not_found=("EXPORT_NOT_FOUND",),
                    responses={204: ResponseSpec(None, "Canceled or removed.")},
                ),
                _delete(exports),
            ),
        ],
        services.guard,
    )


def _create(services: ExportServices, exports: ExportRepository) -> View:
    def create(body: dict[str, Any], path: Mapping[str, str]) -> Response:
        publication = services.publications.require()
        if not services.contract.catalogue.types:
            raise NothingPublished
        workspace_id = authorized_workspace()
        key = _idempotency_key()
        stored_body = _as_stored(body)
        plan = plan_export(services.pool.query, services.contract, publication, workspace_id, body, datetime.now(UTC).date())
        export = exports.request(workspace_id, stored_body, plan, key)
        if export.request != stored_body:
            raise ValidationFailed(
                "The Idempotency-Key was already used for another request",
                details={"Idempotency-Key": ["Already used with another body."]},
            )
        location = resource_path(services.public_path, path["workspaceId"], f"exports/{export.export_id}")
        return resource_response(export_body(export, services.downloads.of(export)), 202, {"Location": location})

    return create


def _list(services: ExportServices, exports: ExportRepository) -> View:
    def list_exports(query: dict[str, Any], path: Mapping[str, str]) -> Response:
        page, next_cursor = list_page(
            query, partial(exports.page, authorized_workspace()), lambda export: (export.created_at, export.export_id)
        )
        bodies = [export_body(export, services.downloads.of(export)) for export in page]
        return resource_response({"exports": bodies, "next_cursor": next_cursor})

    return list_exports


def _get(services: ExportServices, exports: ExportRepository) -> View:
    def get(path: Mapping[str, str]) -> Response:
        export = exports.find(authorized_workspace(), path["exportId"]) if "\0" not in path["exportId"] else None
        if export is None:
            raise NotFound("EXPORT_NOT_FOUND", id=path["exportId"], workspace=path["workspaceId"])
        return resource_response(export_body(export, services.downloads.of(export)))

    return get


def _delete(exports: ExportRepository) -> View:
    def delete(path: Mapping[str, str]) -> Response:
        export_id = path["exportId"]
        if "\0" in export_id or exports.cancel_or_remove(authorized_workspace(), export_id) is None:
            raise NotFound("EXPORT_NOT_FOUND", id=export_id, workspace=path["workspaceId"])
        return empty_response()

    return delete


def _as_stored(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body as JSON stores it, to compare it with an earlier request of the same Idempotency-Key."""
    stored: dict[str, Any] = orjson.loads(orjson.dumps(body))
    return stored


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not re.fullmatch(r"[!-~]{1,255}", key):
        raise ValidationFailed(INVALID, details={"Idempotency-Key": ["Must be 1 to 255 visible ASCII characters."]})
    return key
