"""The route of queries."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from flask import Response, request

from api.analytics.cache import entity_tag
from api.analytics.conditional_get import body_unless_current
from api.analytics.fast_path import FastPath, ResolvedRequest
from api.analytics.query.cursor import decode_cursor, encode_cursor
from api.analytics.query.page import names_of, order_values, page_of, totals_of
from api.analytics.query.plan import choose_fact
from api.analytics.query.request import Query, example_body, request_fields, resolve_query
from api.analytics.query.response import definitions_of, query_response_schema
from api.analytics.query.statement import rows_statement, totals_statement
from api.analytics.services import AnalyticsServices
from api.contract.parameters import UNKNOWN_ZONE
from api.contract.publication import Publication
from api.contract.schema_classes import schema_class
from api.contract.semantic_layer import QueryEndpoint, SemanticLayer
from api.db.prepared_statements import Rows
from api.db.request_context import tenant_settings
from api.db.text_rows import TextQuery
from api.errors import INVALID, ValidationFailed
from api.web.operations import Operation, ResponseSpec, authorized_workspace
from api.web.request_context import RequestContext, current_request_context
from api.web.responses import data_body, data_response

View = Callable[[Mapping[str, Any], Mapping[str, str]], Response]


def query_operation(layer: SemanticLayer, endpoint: QueryEndpoint) -> Operation:
    """The operation, as the OpenAPI document describes it."""
    return Operation(
        operation_id="queryMetrics",
        name=endpoint.name,
        label=endpoint.label,
        description=endpoint.description,
        method="post",
        path=endpoint.path,
        limit=endpoint.limit,
        responses={200: ResponseSpec(query_response_schema(), "Analytics data.")},
        example=example_body(layer),
        arguments=schema_class("QueryMetricsRequest", request_fields(layer)),
    )


def query_view(layer: SemanticLayer, endpoint: QueryEndpoint, services: AnalyticsServices, fast_path: FastPath) -> View:
    """The view: it answers from the cache, or from the smallest fact that has all that the query needs."""

    def view(body: Mapping[str, Any], path: Mapping[str, str]) -> Response:
        publication = services.publications.require()
        today = datetime.now(UTC).date()
        query = resolve_query(layer, body, today)
        query = dataclasses.replace(query, after=decode_cursor(body, query))
        # before the cache: a refusal needs no query
        statements = [
            TextQuery(rows_statement(layer, query, choose_fact(layer, query))),
            TextQuery(totals_statement(query, choose_fact(layer, query, of_rows=False))),
        ]
        settings = query.settings() | tenant_settings(authorized_workspace(), publication.batch_id)

        def tag_of(publication: Publication, settings: Mapping[str, str]) -> str:
            return entity_tag(publication, endpoint.name, settings, {"statements": statements, "period": body["time_range"]})

        def body_of(results: Sequence[Rows], publication: Publication) -> bytes:
            return _body_of(layer, query, body, results, publication)

        def build_body(context: RequestContext, publication: Publication, settings: Mapping[str, str]) -> bytes:
            return body_of(_run(services, context, settings, statements), publication)

        context = current_request_context()
        tag = tag_of(publication, settings)
        content = body_unless_current(context, services.cache, tag, None, lambda: build_body(context, publication, settings))
        resolved = ResolvedRequest(
            endpoint.name,
            endpoint.limit,
            False,
            context.path,
            path["workspaceId"],
            settings,
            tag_of,
            today,
            (publication, tag),
            build_body,
            statements,
            body_of,
        )
        fast_path.store(request.environ, resolved, request.get_data())
        # without If-None-Match, there is always a body
        return data_response(content or b"", "")

    return view


def _run(
    services: AnalyticsServices, context: RequestContext, settings: Mapping[str, str], statements: Sequence[str]
) -> list[Rows]:
    started_at = time.perf_counter()
    try:
        return services.pool.query(settings, statements)
    except psycopg.errors.InvalidParameterValue as error:
        # PostgreSQL has its own list of time zones, which may be older than ours
        raise ValidationFailed(INVALID, details={"timezone": [UNKNOWN_ZONE]}) from error
    finally:
        context.query_seconds = time.perf_counter() - started_at


def _body_of(
    layer: SemanticLayer, query: Query, body: Mapping[str, Any], results: Sequence[Rows], publication: Publication
) -> bytes:
    rows, (totals,) = results
    has_more = len(rows) > query.limit
    next_cursor = encode_cursor(body, order_values(query, rows[query.limit - 1])) if has_more else None
    compared = {"compare": query.compared_range()} if query.compare_days else {}
    return data_body(
        {
            "time_range": query.time_range(body["time_range"]),
            "rows": page_of(query, rows),
            "totals": totals_of(query, totals),
        },
        publication.data_as_of,
        next_cursor=next_cursor,
        **compared,
        definitions=definitions_of(layer, query, names_of(query, rows)),
    )
