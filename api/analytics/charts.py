"""The route of an endpoint's charts: the endpoint's own answer to the same parameters, as a Vega-Lite document.

A page asks for an endpoint and for its charts, so the answer is mostly cached, and all of them agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, request
from werkzeug.http import parse_etags

from api.analytics.chart_document import chart_document
from api.analytics.fast_path import FastPath, ResolvedRequest
from api.contract.charts import Chart
from api.contract.suggestions import suggest
from api.errors import NotFound
from api.web.operations import Operation
from api.web.responses import data_response, document_body, not_modified

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# what a route calls with the request's parameters and its path parameters
View = Callable[[Mapping[str, Any], Mapping[str, str]], Response]


class NoFastPath(FastPath):
    """For an endpoint's view behind its charts: a chart's request is another one than the endpoint's."""

    def store(self, environ: WSGIEnvironment, request: ResolvedRequest) -> None:
        """Remembers nothing."""


def charts_operation(operation: Operation, charts: Sequence[Chart], answer: View) -> tuple[Operation, View]:
    """The operation of an endpoint's charts, from the endpoint's operation and view: its path ends with the chart's name.

    A page shows all charts of an endpoint at once, so their limit is the endpoint's for each of them.
    """
    by_name = {chart.name: chart for chart in charts}

    def view(params: Mapping[str, Any], path: Mapping[str, str]) -> Response:
        chart = by_name.get(path["chart"])
        if chart is None:
            raise NotFound("CHART_NOT_FOUND", id=path["chart"], details={"chart": [suggest(path["chart"], by_name)]})
        response = answer({**params, **chart.params}, path)
        etag = _etag(response, chart)
        # the client's copy has the chart's ETag; the endpoint itself answers 304 to "*" only
        if response.status_code == 304 or (etag and _is_current(etag)):
            return not_modified(etag)
        body = orjson.loads(response.get_data())
        document = chart_document(chart, rows_of(chart, body["data"]), datetime.fromisoformat(body["meta"]["data_as_of"]))
        return data_response(document_body(document), etag)

    return (
        replace(
            operation,
            operation_id=f"{operation.operation_id}Chart",
            name=f"{operation.name}_charts",
            limit=operation.limit * len(charts),
            path=f"{operation.path}/charts/{{chart}}",
            is_documented=False,
        ),
        view,
    )


def rows_of(chart: Chart, data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of the chart's section in the endpoint's `data`; of an object, one or none."""
    value: Any = data
    for part in chart.section.path:
        value = value.get(part) if isinstance(value, Mapping) else None
    if chart.section.is_list:
        return list(value or [])
    names = {shown.group or shown.name for shown in chart.section.fields}
    return [{name: value[name] for name in names if name in value}] if value else []


def _etag(response: Response, chart: Chart) -> str:
    """The chart's ETag: the endpoint's, and the chart's name; '' if the endpoint's answers are not cached."""
    tag = response.headers.get("ETag", "").strip('"')
    return f'"{tag}-{chart.name}"' if tag else ""


def _is_current(etag: str) -> bool:
    return request.method == "GET" and parse_etags(request.headers.get("If-None-Match")).contains_weak(etag.strip('"'))
