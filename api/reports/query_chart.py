"""The chart in the mail of a report of a query: that of `POST /analytics/query/charts/metrics`, as of the batch of its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

from api.analytics.query.chart import DEFAULT_BARS, MAX_BARS, answer_of_chart, chart_of_answer
from api.analytics.query.page import names_of
from api.analytics.query.plan import choose_fact
from api.analytics.query.request import resolve_query
from api.analytics.query.response import definitions_of, rows_of
from api.analytics.query.statement import page_columns, rows_statement
from api.contract.charts import RowsChart
from api.contract.publication import Publication
from api.db.request_context import apply_settings, tenant_settings
from api.exports.query.schemas import query_schema
from api.exports.repository import Export


def query_chart(
    connection: psycopg.Connection, export: Export, publication: Publication
) -> tuple[RowsChart, list[dict[str, Any]]]:
    """The chart of an export's query, and its rows. The connection's transaction is read-only, and the caller ends it.

    Raises:
        ValidationFailed: it has more points than a chart can show, or the publication cannot answer it any more.
        marshmallow.ValidationError: the same, of a metric or a dimension that is not there any more.
    """
    layer = publication.contract.semantic_layer
    body = query_schema(layer)().load(export.request["query"])
    body["limit"] = min(body.get("limit") or DEFAULT_BARS, MAX_BARS)

    def ask(asked: Mapping[str, Any]) -> dict[str, Any]:
        query = resolve_query(layer, asked, export.requested_on)
        apply_settings(connection, query.settings() | tenant_settings(export.workspace_id, publication.batch_id))
        statement = rows_statement(layer, query, choose_fact(layer, query))
        rows = connection.execute(statement.encode()).fetchall()
        return {
            "data": {"rows": rows_of(query, page_columns(query), rows[: query.limit])},
            "meta": {
                "next_cursor": "there is one" if len(rows) > query.limit else None,
                "definitions": definitions_of(layer, query, names_of(query, rows)),
            },
        }

    return chart_of_answer(layer, body, answer_of_chart(body, ask))
