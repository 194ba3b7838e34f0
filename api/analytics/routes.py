"""The routes of the contract's endpoints. No endpoint has code of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import psycopg
from flask import Response, request
from flask_smorest import Blueprint

from api.analytics.cache import ResponseCache, entity_tag
from api.analytics.conditional_get import body_unless_current
from api.analytics.fast_path import FastPath, ResolvedRequest
from api.auth.guard import RequestGuard
from api.contract.exposures import Endpoint
from api.contract.parameters import DEMO_FIELDS, PARAMETERS, PATH_PARAMETERS, UNKNOWN_ZONE
from api.contract.publication import Publication, PublicationCache
from api.contract.response import assembler, statement
from api.db.pool import ConnectionPool
from api.db.request_context import tenant_settings
from api.errors import INVALID, NotFound, ValidationFailed
from api.web.operations import (
    ETAG_HEADER,
    Operation,
    ResponseSpec,
    authorized_workspace,
    operations_blueprint,
)
from api.web.request_context import RequestContext, current_request_context
from api.web.responses import data_body, data_response, not_modified
from api.web.schemas import request_schema, response_schema


@dataclass(frozen=True)
class AnalyticsServices:
    """What the endpoints need; shared by all apps of a process."""

    pool: ConnectionPool
    publications: PublicationCache
    guard: RequestGuard
    cache: ResponseCache


def analytics_blueprint(endpoints: tuple[Endpoint, ...], services: AnalyticsServices, fast_path: FastPath) -> Blueprint:
    """The routes of all endpoints, below the workspace."""
    return operations_blueprint(
        "Analytics",
        "Campaign, workspace, deliverability and heatmap analytics.",
        [(_operation(endpoint), _view(endpoint, services, fast_path)) for endpoint in endpoints],
        services.guard,
    )


def resolve_settings(
    endpoint: Endpoint, params: Mapping[str, Any], path: Mapping[str, str], today: date
) -> tuple[dict[str, str], dict[str, Any]]:
    """The settings of a request (without workspace and batch), and the fields that its response repeats.

    Raises:
        ValidationFailed, InvalidTimeRange: the parameters contradict each other.
        NotFound: an id of the path cannot exist.
    """
    settings: dict[str, str] = {}
    response_fields: dict[str, Any] = {}
    for name in endpoint.parameters:
        resolved = PARAMETERS[name].resolve(params, today)
        settings |= resolved.settings
        response_fields |= resolved.response_fields
    for name in endpoint.path_parameters:
        # PostgreSQL cannot store a NUL, so no id has one
        if "\0" in path[name] or not path[name]:
            raise _not_found(endpoint, path)
        settings[PATH_PARAMETERS[name].setting] = path[name]
    return settings, response_fields


def _operation(endpoint: Endpoint) -> Operation:
    return Operation(
        operation_id=endpoint.operation_id,
        name=endpoint.name,
        label=endpoint.label,
        description=endpoint.description,
        method=endpoint.method,
        path=endpoint.path,
        limit=endpoint.limit,
        responses={
            200: ResponseSpec(
                response_schema(endpoint),
                "Analytics data.",
                ETAG_HEADER if endpoint.is_cached and endpoint.method == "get" else {},
            )
        },
        arguments=request_schema(endpoint),
        demo_fields={name: value for name, value in DEMO_FIELDS.items() if name in endpoint.parameters},
        not_found=tuple(code for section in endpoint.sections for code in (section.not_found_error, section.on_empty) if code),
        path_parameters=tuple(
            {
                "name": name,
                "description": PATH_PARAMETERS[name].description,
                "example": PATH_PARAMETERS[name].example,
            }
            for name in endpoint.path_parameters
        ),
    )


def _view(
    endpoint: Endpoint, services: AnalyticsServices, fast_path: FastPath
) -> Callable[[Mapping[str, Any], Mapping[str, str]], Response]:
    statements = [statement(section) for section in endpoint.sections]
    assemble = assembler(endpoint.sections)

    def view(params: Mapping[str, Any], path: Mapping[str, str]) -> Response:
        publication = services.publications.require()
        today = datetime.now(UTC).date()
        settings, response_fields = resolve_settings(endpoint, params, path, today)
        settings |= tenant_settings(authorized_workspace(), publication.batch_id)

        def build_body(context: RequestContext, publication: Publication, settings: Mapping[str, str]) -> bytes:
            rows_by_section = query_sections(context, settings, path)
            return data_body(assemble(rows_by_section, response_fields, params), publication.data_as_of)

        context = current_request_context()
        etag = entity_tag(publication, endpoint, settings, response_fields) if endpoint.is_cached else ""
        is_conditional = bool(etag) and endpoint.method == "get"
        body = body_unless_current(
            context,
            services.cache,
            etag,
            request.headers.get("If-None-Match") if is_conditional else None,
            lambda: build_body(context, publication, settings),
        )
        if is_conditional:
            resolved = ResolvedRequest(
                endpoint,
                context.path,
                path["workspaceId"],
                settings,
                response_fields,
                today,
                (publication, etag),
                build_body,
            )
            fast_path.store(request.environ, resolved)
        return not_modified(etag) if body is None else data_response(body, etag if is_conditional else "")

    def query_sections(
        context: RequestContext, settings: Mapping[str, str], path: Mapping[str, str]
    ) -> list[list[tuple[Any, ...]]]:
        started_at = time.perf_counter()
        try:
            rows_by_section = services.pool.query(settings, statements, is_live=not endpoint.is_cached)
        except psycopg.errors.InvalidParameterValue as error:
            # PostgreSQL has its own list of time zones, which may be older than ours
            if "timezone" not in endpoint.parameters:
                raise
            raise ValidationFailed(INVALID, details={"timezone": [UNKNOWN_ZONE]}) from error
        finally:
            context.query_seconds = time.perf_counter() - started_at
        for section, rows in zip(endpoint.sections, rows_by_section, strict=True):
            if section.not_found_error and rows:
                raise NotFound(section.not_found_error, id=rows[0][0], workspace=path["workspaceId"])
            if section.on_empty and not rows:
                raise _not_found(endpoint, path)
        return rows_by_section

    return view


def _not_found(endpoint: Endpoint, path: Mapping[str, str]) -> NotFound:
    code = next((section.on_empty for section in endpoint.sections if section.on_empty), "NOT_FOUND")
    first_id = next((path[name] for name in endpoint.path_parameters), "")
    return NotFound(code, id=first_id, workspace=path["workspaceId"])
