"""The routes of the contract's endpoints. No endpoint has code of its own, except for queries (`query/`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import psycopg
from flask import Response, request
from flask_smorest import Blueprint

from api.analytics.cache import entity_tag
from api.analytics.chart_document import chart_document, rows_of
from api.analytics.charts import Answered, NoFastPath, OfferedChart, View, answered, charts_operation
from api.analytics.conditional_get import body_unless_current
from api.analytics.cursors import check_position, cursor_after, decode_cursor, published_state, request_hash
from api.analytics.fast_path import FastPath, ResolvedRequest
from api.analytics.query.chart import NAME, TITLE, answer_of_chart, document_of_chart
from api.analytics.query.chart_operation import chart_of_query_operation
from api.analytics.query.routes import query_operation, query_view
from api.analytics.services import AnalyticsServices
from api.contract.charts import Chart
from api.contract.contract import Contract
from api.contract.exposures import Endpoint
from api.contract.lists import list_settings
from api.contract.page_query import IS_STILL_READABLE, PAGE_AFTER, cut_page, section_statement
from api.contract.parameters import DEMO_FIELDS, PARAMETERS, PATH_PARAMETERS, UNKNOWN_ZONE
from api.contract.publication import Publication
from api.contract.response import assembler, statement
from api.db.prepared_statements import Rows
from api.db.request_context import tenant_settings
from api.errors import INVALID, CursorExpired, InvalidCursor, NotFound, ValidationFailed
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

# the blueprint, and the tag in the OpenAPI document
ANALYTICS = "Analytics"


def analytics_blueprint(
    contract: Contract, services: AnalyticsServices, fast_path: FastPath, charts: Sequence[tuple[Operation, View]]
) -> Blueprint:
    """The routes of all endpoints, that of queries, and those of `charts`, below the workspace."""
    by_position = [
        (endpoint.position, (_operation(endpoint), _view(endpoint, services, fast_path))) for endpoint in contract.endpoints
    ]
    query = contract.semantic_layer.endpoint
    if query is not None:
        by_position.append(
            (
                query.position,
                (
                    query_operation(contract.semantic_layer, query),
                    query_view(contract.semantic_layer, query, services, fast_path),
                ),
            )
        )
    return operations_blueprint(
        ANALYTICS,
        "Campaign, workspace, deliverability and heatmap analytics.",
        [*(operation for _, operation in sorted(by_position, key=lambda item: item[0])), *charts],
        services.guard,
    )


def chart_operations(contract: Contract, services: AnalyticsServices) -> list[tuple[Operation, View]]:
    """The operation and the view of each endpoint's charts, and of those of queries."""
    no_fast_path = NoFastPath(services.guard, services.cache)
    operations = [
        charts_operation(
            _operation(endpoint),
            [OfferedChart(chart.name, chart.title, partial(_document, chart), chart.params) for chart in charts],
            partial(_answered, _view(endpoint, services, no_fast_path)),
            services,
        )
        for endpoint in contract.endpoints
        if (charts := contract.charts.get(endpoint.name))
    ]
    layer = contract.semantic_layer
    if layer.endpoint is not None:
        view = query_view(layer, layer.endpoint, services, no_fast_path)
        operations.append(
            charts_operation(
                chart_of_query_operation(query_operation(layer, layer.endpoint)),
                [OfferedChart(NAME, TITLE, partial(document_of_chart, layer))],
                partial(_answered_query, view),
                services,
            )
        )
    return operations


def _answered(view: View, params: Mapping[str, Any], path: Mapping[str, str]) -> Answered:
    return answered(view(params, path))


def _answered_query(view: View, body: Mapping[str, Any], path: Mapping[str, str]) -> Answered:
    """Of a query, which has no ETag; its chart can need more than one response."""
    return Answered("", False, lambda: answer_of_chart(body, lambda asked: _answered(view, asked, path).read()))


def _document(chart: Chart, params: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    return chart_document(chart, rows_of(chart, answer["data"]), datetime.fromisoformat(answer["meta"]["data_as_of"]))


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
    if endpoint.page is not None:
        settings |= list_settings(endpoint.page, params)
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
    # of a page, the text depends on the request
    whole = [statement(section) if section.page is None else "" for section in endpoint.sections]

    def view(params: Mapping[str, Any], path: Mapping[str, str]) -> Response:
        publication = services.publications.require()
        today = datetime.now(UTC).date()
        cursor = decode_cursor(params["cursor"]) if endpoint.page is not None and "cursor" in params else None
        # the pages of a list are of one batch and one window, also after midnight
        state = publication.readable[0] if cursor is None else published_state(cursor, publication)
        settings, response_fields = resolve_settings(endpoint, params, path, today if cursor is None else cursor.day)
        settings |= tenant_settings(authorized_workspace(), state.batch_id)
        if endpoint.page is not None and cursor is not None:
            if request_hash(endpoint, settings) != cursor.request:
                raise InvalidCursor("Is of another request: except for limit, send the parameters of the first page.")
            check_position(cursor.position, endpoint.page.sort[params["sort"]].data_type)
            settings[PAGE_AFTER] = cursor.position.setting()
        statements = [
            text or section_statement(section, params, cursor.position if cursor else None)
            for section, text in zip(endpoint.sections, whole, strict=True)
            if section.is_shown(params)
        ]
        if state.batch_id != publication.batch_id:
            statements.append(IS_STILL_READABLE)
        assemble = assembler(endpoint.sections, response_fields, params)

        def body_of(results: Sequence[Rows], publication: Publication) -> bytes:
            read_as_of = state if cursor else publication.readable[0]
            rows_by_section = _rows_by_section(endpoint, params, results)
            _check_found(endpoint, params, rows_by_section, path)
            pages: dict[str, str | None] = {}
            for number, section in enumerate(endpoint.sections):
                if section.page is None:
                    continue
                rows_by_section[number], last = cut_page(rows_by_section[number], params["limit"])
                day = cursor.day if cursor else today
                pages["next_cursor"] = (
                    None if last is None else cursor_after(last, endpoint, settings, publication, read_as_of, day).encode()
                )
            return data_body({**assemble(rows_by_section), **pages}, read_as_of.data_as_of)

        def build_body(context: RequestContext, publication: Publication, settings: Mapping[str, str]) -> bytes:
            return body_of(query_sections(context, settings, statements), publication)

        def tag_of(publication: Publication, settings: Mapping[str, str]) -> str:
            return entity_tag(publication, endpoint.name, settings, response_fields) if endpoint.is_cached else ""

        context = current_request_context()
        etag = tag_of(publication, settings)
        is_conditional = bool(etag) and endpoint.method == "get"
        body = body_unless_current(
            context,
            services.cache,
            etag,
            request.headers.get("If-None-Match") if is_conditional else None,
            lambda: build_body(context, publication, settings),
        )
        # a request with a cursor is as of the cursor's batch, whatever is published
        if cursor is None:
            resolved = ResolvedRequest(
                endpoint.name,
                endpoint.limit,
                is_conditional,
                context.path,
                path["workspaceId"],
                settings,
                tag_of,
                today,
                (publication, etag),
                build_body,
                statements,
                body_of,
            )
            fast_path.store(request.environ, resolved, request.get_data() if endpoint.method == "post" else b"")
        return not_modified(etag) if body is None else data_response(body, etag if is_conditional else "")

    def query_sections(context: RequestContext, settings: Mapping[str, str], statements: Sequence[str]) -> list[Rows]:
        started_at = time.perf_counter()
        try:
            return services.pool.query(settings, statements, is_live=not endpoint.is_cached)
        except psycopg.errors.InvalidParameterValue as error:
            # PostgreSQL has its own list of time zones, which may be older than ours
            if "timezone" not in endpoint.parameters:
                raise
            raise ValidationFailed(INVALID, details={"timezone": [UNKNOWN_ZONE]}) from error
        finally:
            context.query_seconds = time.perf_counter() - started_at

    return view


def _rows_by_section(endpoint: Endpoint, params: Mapping[str, Any], results: Sequence[Rows]) -> list[Rows]:
    """The rows of each section; none of a section that this response does not have.

    Raises:
        CursorExpired: the batch of the cursor was removed in the meantime.
    """
    left = iter(results)
    rows_by_section = [next(left) if section.is_shown(params) else [] for section in endpoint.sections]
    if not all(left):
        raise CursorExpired
    return rows_by_section


def _check_found(endpoint: Endpoint, params: Mapping[str, Any], rows_by_section: Sequence[Rows], path: Mapping[str, str]) -> None:
    """
    Raises:
        NotFound: a section names what does not exist, or must not be empty.
    """
    for section, rows in zip(endpoint.sections, rows_by_section, strict=True):
        if section.not_found_error and rows:
            raise NotFound(section.not_found_error, id=rows[0][0], workspace=path["workspaceId"])
        if section.on_empty and not rows and section.is_shown(params):
            raise _not_found(endpoint, path)


def _not_found(endpoint: Endpoint, path: Mapping[str, str]) -> NotFound:
    code = next((section.on_empty for section in endpoint.sections if section.on_empty), "NOT_FOUND")
    first_id = next((path[name] for name in endpoint.path_parameters), "")
    return NotFound(code, id=first_id, workspace=path["workspaceId"])
