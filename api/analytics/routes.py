"""Makes the contract's endpoints into routes. None of them has code of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import psycopg
from flask import Response, request
from flask_smorest import Blueprint

from api.analytics.cache import ResponseCache, entity_tag, is_any, is_known
from api.analytics.fast_path import FastPath
from api.auth.guard import RequestGuard
from api.contract.exposures import Endpoint
from api.contract.parameters import PARAMETERS, PATH_PARAMETERS, UNKNOWN_ZONE
from api.contract.publication import Publication, Publications
from api.contract.response import assembler, statement
from api.db.pool import ConnectionPool
from api.errors import INVALID, NotFound, ValidationFailed, WarehouseUnavailable
from api.exports.downloads import Downloads
from api.net.ssrf import Network
from api.web.operations import ETAG_HEADER, Answer, Operation, authorized_workspace, operations_blueprint
from api.web.request_log import Record, record_of
from api.web.responses import data_body, data_response, not_modified
from api.web.schemas import request_schema, response_schema


@dataclass(frozen=True)
class AnalyticsServices:
    """What endpoints answer with; all apps of a process share it."""

    pool: ConnectionPool
    publications: Publications
    guard: RequestGuard
    answers: ResponseCache
    downloads: Downloads
    webhook_allowed_networks: tuple[Network, ...] = ()
    target: str = "production"


def analytics_blueprint(endpoints: tuple[Endpoint, ...], services: AnalyticsServices, fast_path: FastPath) -> Blueprint:
    """The routes of all endpoints, below the workspace."""
    return operations_blueprint(
        "Analytics",
        "What became of the mail.",
        [(_operation(endpoint), _reader(endpoint, services, fast_path)) for endpoint in endpoints],
        services.guard,
    )


def _operation(endpoint: Endpoint) -> Operation:
    return Operation(
        operation_id=endpoint.operation_id,
        name=endpoint.name,
        label=endpoint.label,
        description=endpoint.description,
        method=endpoint.method,
        path=endpoint.path,
        limit=endpoint.limit,
        answers={
            200: Answer(
                response_schema(endpoint),
                "The numbers.",
                ETAG_HEADER if endpoint.is_cached and endpoint.method == "get" else {},
            )
        },
        arguments=request_schema(endpoint),
        path_parameters=tuple(
            {"name": name, "description": PATH_PARAMETERS[name].description, "example": PATH_PARAMETERS[name].example}
            for name in endpoint.path_parameters
        ),
    )


def _reader(
    endpoint: Endpoint, services: AnalyticsServices, fast_path: FastPath
) -> Callable[[Mapping[str, Any], Mapping[str, str]], Response]:
    statements = [statement(section) for section in endpoint.sections]
    assemble = assembler(endpoint.sections)

    def read(query: Mapping[str, Any], path: Mapping[str, str]) -> Response:
        publication = services.publications.current()
        if publication is None:
            raise WarehouseUnavailable("Nothing is published yet; run `mailmart build`.", retry_after=60)
        record = record_of(request.environ)
        today = datetime.now(UTC).date()
        context, shown = request_context(endpoint, query, path, today)
        context |= {"mailmart.workspace_id": authorized_workspace(), "mailmart.as_of": str(publication.batch_id)}
        tag = entity_tag(publication, endpoint, context, shown) if endpoint.is_cached else ""
        is_conditional = bool(tag) and endpoint.method == "get"
        given = request.headers.get("If-None-Match")
        if is_conditional and is_known(given, tag):
            record.source = "client"
            return not_modified(tag)
        body = services.answers.get(tag) if tag else None
        record.source = "cache" if body else "warehouse"
        if body is None:
            body = make(record, publication, context, tag, shown=shown, query=query, path=path)
        if is_conditional:
            make_again = partial(make, shown=shown, query=query, path=path)
            fast_path.store(request.environ, endpoint, path["workspaceId"], context, shown, today, (publication, tag), make_again)
            if is_any(given):
                return not_modified(tag)
        return data_response(body, tag if is_conditional else "")

    def make(
        record: Record,
        publication: Publication,
        context: Mapping[str, str],
        tag: str,
        *,
        shown: dict[str, Any],
        query: Mapping[str, Any],
        path: Mapping[str, str],
    ) -> bytes:
        body = data_body(assemble(found_in(record, context, path), shown, query), publication.data_as_of)
        if tag:
            services.answers.put(tag, body)
        return body

    def found_in(record: Record, context: Mapping[str, str], path: Mapping[str, str]) -> list[list[tuple[Any, ...]]]:
        began = time.perf_counter()
        try:
            found = services.pool.query(context, statements)
        except psycopg.errors.InvalidParameterValue as error:
            # of the time zones PostgreSQL has a list of its own, which may be older than ours
            if "timezone" not in endpoint.parameters:
                raise
            raise ValidationFailed(INVALID, details={"timezone": [UNKNOWN_ZONE]}) from error
        finally:
            record.query_seconds = time.perf_counter() - began
        for section, rows in zip(endpoint.sections, found, strict=True):
            if section.not_found_error and rows:
                raise NotFound(section.not_found_error, id=rows[0][0], workspace=path["workspaceId"])
            if section.on_empty and not rows:
                raise _not_found(endpoint, path)
        return found

    return read


def request_context(
    endpoint: Endpoint, query: Mapping[str, Any], path: Mapping[str, str], today: date
) -> tuple[dict[str, str], dict[str, Any]]:
    """The settings that a request comes to, without its workspace and batch, and what its response says of them.

    Raises:
        NotFound: an id of the path is none.
    """
    context: dict[str, str] = {}
    shown: dict[str, Any] = {}
    for name in endpoint.parameters:
        resolved = PARAMETERS[name].resolve(query, today)
        context |= resolved.settings
        shown |= resolved.shown
    for name in endpoint.path_parameters:
        # no id has a NUL, and no text of PostgreSQL's can hold one
        if "\0" in path[name] or not path[name]:
            raise _not_found(endpoint, path)
        context[PATH_PARAMETERS[name].setting] = path[name]
    return context, shown


def _not_found(endpoint: Endpoint, path: Mapping[str, str]) -> NotFound:
    code = next((section.on_empty for section in endpoint.sections if section.on_empty), "NOT_FOUND")
    named = next((path[name] for name in endpoint.path_parameters), "")
    return NotFound(code, id=named, workspace=path["workspaceId"])
