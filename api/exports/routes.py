"""The operations on exports: ask for one, see how far it is, list, cancel or remove."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Response, request
from flask_smorest import Blueprint

from api.auth.guard import RequestGuard
from api.contract.export_types import Catalogue
from api.contract.publication import PublicationCache
from api.db.pool import ConnectionPool
from api.errors import INVALID, NotFound, NothingPublished, ValidationFailed
from api.exports.downloads import Downloads
from api.exports.prepare import plan_export
from api.exports.repository import ExportRepository
from api.exports.request_schema import EXAMPLE, export_schema
from api.exports.schemas import PageQuery, answer_schema, export_body, export_status_schema, list_schema
from api.web.operations import Operation, ResponseSpec, authorized_workspace, operations_blueprint
from api.web.pagination import decode_cursor, encode_cursor
from api.web.responses import empty_response, resource_response

View = Callable[..., Response]
EXPORT_ID = {"name": "exportId", "description": "Export job identifier", "example": "exp_xyz123"}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "required": False,
    "description": "Names the request: sent again with the same body, it is answered with the same export.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
LOCATION = {"Location": {"description": "Where its status is.", "schema": {"type": "string"}}}


@dataclass(frozen=True)
class ExportServices:
    """What the operations need; `catalogue` is that of the app's contract."""

    pool: ConnectionPool
    publications: PublicationCache
    guard: RequestGuard
    downloads: Downloads
    catalogue: Catalogue


def exports_blueprint(services: ExportServices) -> Blueprint:
    """The routes, below the workspace."""
    status = export_status_schema(services.catalogue)
    answer = answer_schema(status)
    books = ExportRepository(services.pool)
    return operations_blueprint(
        "Exports",
        "Analytics as files.",
        [
            (
                Operation(
                    operation_id="createExport",
                    name="exports",
                    label="Export analytics data",
                    description="Asks for a file with the numbers of an endpoint, or with messages one by one. It is written in"
                    " the background: its status says how far it is, and where it can be fetched.",
                    method="post",
                    path="/analytics/export",
                    limit=10,
                    scope="export",
                    arguments=export_schema(services.catalogue),
                    example=EXAMPLE,
                    headers=(IDEMPOTENCY_KEY,),
                    responses={202: ResponseSpec(answer, "It is being written.", LOCATION)},
                ),
                _create(services, books),
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
                    responses={200: ResponseSpec(list_schema(status), "A page of them.")},
                ),
                _list(services, books),
            ),
            (
                Operation(
                    operation_id="getExport",
                    name="export_status",
                    label="Get export status",
                    description="How far an export is, and once it is completed, where its file is: at each read an address that"
                    " holds for an hour.",
                    method="get",
                    path="/analytics/exports/{exportId}",
                    limit=60,
                    scope="export",
                    path_parameters=(EXPORT_ID,),
                    responses={200: ResponseSpec(answer, "The export.")},
                ),
                _get(services, books),
            ),
            (
                Operation(
                    operation_id="deleteExport",
                    name="export_deletion",
                    label="Cancel or remove an export",
                    description="One that is being written is canceled, and stays in the list. Any other is removed, with its"
                    " file.",
                    method="delete",
                    path="/analytics/exports/{exportId}",
                    limit=60,
                    scope="export",
                    path_parameters=(EXPORT_ID,),
                    responses={204: ResponseSpec(None, "Done.")},
                ),
                _delete(books),
            ),
        ],
        services.guard,
    )


def _create(services: ExportServices, books: ExportRepository) -> View:
    def create(body: dict[str, Any], path: Mapping[str, str]) -> Response:
        publication = services.publications.require()
        if not services.catalogue.types:
            raise NothingPublished
        workspace_id = authorized_workspace()
        key = _idempotency_key()
        given = _as_given(body)
        resolved, size = plan_export(
            services.pool.query, services.catalogue, publication, workspace_id, body, datetime.now(UTC).date()
        )
        export = books.request(workspace_id, given, resolved, size, key)
        if export.request != given:
            raise ValidationFailed(
                "The Idempotency-Key was used for another request",
                details={"Idempotency-Key": ["Was sent before, with another body."]},
            )
        location = f"/api/v1/workspaces/{path['workspaceId']}/analytics/exports/{export.export_id}"
        return resource_response(export_body(export, services.downloads.of(export)), 202, {"Location": location})

    return create


def _list(services: ExportServices, books: ExportRepository) -> View:
    def list_them(query: dict[str, Any], path: Mapping[str, str]) -> Response:
        limit = query["limit"]
        before = decode_cursor(query["cursor"]) if "cursor" in query else None
        found = books.page(authorized_workspace(), limit + 1, before)
        shown = found[:limit]
        more = encode_cursor(shown[-1].created_at, shown[-1].export_id) if len(found) > limit else None
        bodies = [export_body(export, services.downloads.of(export)) for export in shown]
        return resource_response({"exports": bodies, "next_cursor": more})

    return list_them


def _get(services: ExportServices, books: ExportRepository) -> View:
    def get(path: Mapping[str, str]) -> Response:
        export = books.find(authorized_workspace(), path["exportId"]) if "\0" not in path["exportId"] else None
        if export is None:
            raise NotFound("EXPORT_NOT_FOUND", id=path["exportId"], workspace=path["workspaceId"])
        return resource_response(export_body(export, services.downloads.of(export)))

    return get


def _delete(books: ExportRepository) -> View:
    def delete(path: Mapping[str, str]) -> Response:
        unwanted = path["exportId"]
        if "\0" in unwanted or books.cancel_or_remove(authorized_workspace(), unwanted) is None:
            raise NotFound("EXPORT_NOT_FOUND", id=unwanted, workspace=path["workspaceId"])
        return empty_response()

    return delete


def _as_given(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body as JSON: what is stored, and compared to that of another request with the same key."""
    stored: dict[str, Any] = orjson.loads(orjson.dumps(body))
    return stored


def _idempotency_key() -> str | None:
    given = request.headers.get("Idempotency-Key")
    if given is not None and not re.fullmatch(r"[!-~]{1,255}", given):
        raise ValidationFailed(INVALID, details={"Idempotency-Key": ["Must be 1 to 255 visible ASCII characters."]})
    return given
