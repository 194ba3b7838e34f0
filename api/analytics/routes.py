"""The routes of the contract's endpoints. No endpoint has code of its own, except for queries (`query/`)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
from flask import Response, request
from flask_smorest import Blueprint

from api.analytics.chart_document import chart_document, rows_of
from api.analytics.charts import Answered, NoFastPath, OfferedChart, View, answered, charts_operation
from api.analytics.conditional_get import body_unless_current
from api.analytics.endpoint_request import resolve_request
from api.analytics.fast_path import FastPath, ResolvedRequest
from api.analytics.query.chart import NAME, TITLE, answer_of_chart, document_of_chart
from api.analytics.query.chart_operation import chart_of_query_operation
from api.analytics.query.routes import query_operation, query_view
from api.analytics.services import AnalyticsServices
from api.contract.charts import Chart
from api.contract.contract import Contract
from api.contract.exposures import Endpoint
from api.contract.parameters import DEMO_FIELDS, PATH_PARAMETERS, UNKNOWN_ZONE
from api.contract.publication import Publication
from api.contract.response import statement
from api.db.prepared_statements import Rows
from api.errors import INVALID, ValidationFailed
from api.web.operations import (
    ETAG_HEADER,
    Operation,
    ResponseSpec,
    authorized_workspace,
    operations_blueprint,
)
from api.web.request_context import RequestContext, current_request_context
from api.web.responses import data_response, not_modified
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


def _view(endpoint: Endpoint, services: AnalyticsServices, fast_path: FastPath) -> View:
    # of a page, the text depends on the request
    texts = [statement(section) if section.page is None else "" for section in endpoint.sections]

    def view(params: Mapping[str, Any], path: Mapping[str, str]) -> Response:
        publication = services.publications.require()
        resolved = resolve_request(endpoint, params, path, publication, authorized_workspace(), datetime.now(UTC).date())
        statements = resolved.statements(texts, publication)
        body_of = resolved.body_of()

        def build_body(context: RequestContext, publication: Publication, settings: Mapping[str, str]) -> bytes:
            return body_of(_query(services, endpoint, context, settings, statements), publication)

        context = current_request_context()
        etag = resolved.tag_of(publication, resolved.settings)
        is_conditional = bool(etag) and endpoint.method == "get"
        body = body_unless_current(
            context,
            services.cache,
            etag,
            request.headers.get("If-None-Match") if is_conditional else None,
            lambda: build_body(context, publication, resolved.settings),
        )
        # a request with a cursor is as of the cursor's batch, whatever is published
        if resolved.cursor is None:
            seen = ResolvedRequest(
                endpoint.name,
                endpoint.limit,
                is_conditional,
                context.path,
                path["workspaceId"],
                resolved.settings,
                resolved.tag_of,
                resolved.today,
                (publication, etag),
                build_body,
                statements,
                body_of,
            )
            fast_path.store(request.environ, seen, request.get_data() if endpoint.method == "post" else b"")
        return not_modified(etag) if body is None else data_response(body, etag if is_conditional else "")

    return view


def _query(
    services: AnalyticsServices,
    endpoint: Endpoint,
    context: RequestContext,
    settings: Mapping[str, str],
    statements: Sequence[str],
) -> list[Rows]:
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
