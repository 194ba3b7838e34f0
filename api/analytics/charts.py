"""The route of an endpoint's charts: the endpoint's own answer to the same parameters, as a Vega-Lite document or as a picture.

A page asks for an endpoint and for its charts, so the answer is mostly cached, and all of them agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import marshmallow as ma
import orjson
from flask import Response, request
from werkzeug.http import parse_etags

from api.analytics.chart_pictures import BUSY, draw
from api.analytics.fast_path import FastPath, ResolvedRequest
from api.analytics.services import AnalyticsServices
from api.contract.schema_classes import schema_class
from api.contract.suggestions import suggest
from api.drawing.picture import (
    CONTENT_TYPES,
    DEFAULT_LOCALE,
    DEFAULT_WIDTH,
    FORMATS,
    LOCALES,
    MAX_SCALE,
    MAX_WIDTH,
    MIN_WIDTH,
    THEMES,
    PictureFormat,
    PictureOptions,
)
from api.errors import ChartUnavailable, NotFound
from api.web.operations import ETAG_HEADER, Operation, ResponseSpec, authorized_workspace
from api.web.responses import cache_headers, data_response, document_body, not_modified
from api.web.schemas import VegaLiteDocument

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# what a route calls with the request's parameters and its path parameters
View = Callable[[Mapping[str, Any], Mapping[str, str]], Response]
DOCUMENT = "vega-lite"
JSON = "application/json"
FORMAT_BY_TYPE: Mapping[str, PictureFormat] = {CONTENT_TYPES[form]: form for form in FORMATS}
OPTION_NAMES = ("format", "theme", "locale", "width", "scale")


class Answered(NamedTuple):
    """The response that a chart is drawn of.

    Attributes:
        etag: '' if it is not cached.
        is_current: the client has it already, so there is nothing to read.
        read: its whole body.
    """

    etag: str
    is_current: bool
    read: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class OfferedChart:
    """A chart of an operation.

    Attributes:
        document: its Vega-Lite document, of the request's parameters and the operation's whole response to them.
        params: parameters of the operation that this chart sets.
    """

    name: str
    title: str
    document: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
    params: Mapping[str, Any] = field(default_factory=dict)


class NoFastPath(FastPath):
    """For an endpoint's view behind its charts: a chart's request is another one than the endpoint's."""

    def store(self, environ: WSGIEnvironment, request: ResolvedRequest, body: bytes = b"") -> None:
        """Remembers nothing."""


def answered(response: Response) -> Answered:
    """What a chart needs of an endpoint's response."""
    return Answered(response.headers.get("ETag", ""), response.status_code == 304, lambda: orjson.loads(response.get_data()))


def charts_operation(
    operation: Operation,
    charts: Sequence[OfferedChart],
    answer: Callable[[Mapping[str, Any], Mapping[str, str]], Answered],
    services: AnalyticsServices,
) -> tuple[Operation, View]:
    """The operation of an endpoint's charts, from the endpoint's operation and answers: its path ends with the chart's name.

    A page shows all charts of an endpoint at once, so their limit is the endpoint's for each of them.
    """
    by_name = {chart.name: chart for chart in charts}

    def view(params: Mapping[str, Any], path: Mapping[str, str]) -> Response:
        chart = by_name.get(path["chart"])
        if chart is None:
            raise NotFound("CHART_NOT_FOUND", id=path["chart"], details={"chart": [suggest(path["chart"], by_name)]})
        options = _options(params)
        of_endpoint = {name: value for name, value in params.items() if name not in OPTION_NAMES}
        response = answer({**of_endpoint, **chart.params}, path)
        etag = _etag(response.etag, chart, params["theme"], options)
        # the client's copy has the chart's ETag; the endpoint itself answers 304 to "*" only
        if response.is_current or (etag and _is_current(etag)):
            return _varying(not_modified(etag))
        document = chart.document(of_endpoint, response.read())
        if options is None:
            shown = {**document, "config": document["usermeta"]["dark"]} if params["theme"] == "dark" else document
            return _varying(data_response(document_body(shown), etag))
        picture = draw(services, authorized_workspace(), document, options)
        disposition = f'inline; filename="{chart.name}.{options.format}"'
        headers = [("Content-Type", CONTENT_TYPES[options.format]), ("Content-Disposition", disposition), *cache_headers(etag)]
        return _varying(Response(picture, 200, headers=headers))

    return (
        replace(
            operation,
            operation_id=f"{operation.operation_id}Chart",
            name=f"{operation.name}_charts",
            label=f"{operation.label}: chart",
            description=_description(operation, charts),
            limit=operation.limit * len(charts),
            path=f"{operation.path}/charts/{{chart}}",
            arguments=_arguments(operation),
            demo_fields={},
            not_found=(*operation.not_found, "CHART_NOT_FOUND"),
            errors=(ChartUnavailable(BUSY, retry_after=2),),
            path_parameters=(
                *operation.path_parameters,
                {
                    "name": "chart",
                    "description": "Name of the chart.",
                    "example": charts[0].name,
                    "schema": {"type": "string", "enum": [chart.name for chart in charts]},
                },
            ),
            responses={
                200: ResponseSpec(
                    VegaLiteDocument,
                    "The chart.",
                    ETAG_HEADER if operation.responses[200].headers else {},
                    more_content={
                        CONTENT_TYPES["svg"]: {"type": "string"},
                        CONTENT_TYPES["png"]: {"type": "string", "format": "binary"},
                    },
                )
            },
        ),
        view,
    )


def _description(operation: Operation, charts: Sequence[OfferedChart]) -> str:
    names = " ".join(f"`{chart.name}`: {chart.title}." for chart in charts)
    return (
        f"A picture of the response of {operation.operation_id}, as a Vega-Lite document with its data, as SVG or as PNG. {names}"
        " Pictures are cached; a workspace can request 60 uncached pictures in a minute."
    )


def _arguments(operation: Operation) -> type[ma.Schema]:
    """The endpoint's parameters, and how the chart is drawn."""
    base = operation.arguments or ma.Schema
    ending = "Request" if operation.has_body else "Query"
    return schema_class(f"{base.__name__.removesuffix(ending)}Chart{ending}", _option_fields(), bases=(base,))


def _option_fields() -> dict[str, ma.fields.Field[Any]]:
    return {
        "format": ma.fields.String(
            validate=ma.validate.OneOf((DOCUMENT, *FORMATS)),
            metadata={
                "description": "Format of the chart. Default: the type that `Accept` prefers, else `vega-lite`.",
                "x-enum-name": "ChartFormat",
                "x-enum-varnames": ["VEGA_LITE", "SVG", "PNG"],
            },
        ),
        "theme": ma.fields.String(
            load_default=THEMES[0],
            validate=ma.validate.OneOf(THEMES),
            metadata={"description": "Colour theme.", "example": "light", "x-enum-name": "ChartTheme"},
        ),
        "locale": ma.fields.String(
            load_default=DEFAULT_LOCALE,
            validate=ma.validate.OneOf(LOCALES),
            metadata={
                "description": "How a picture writes numbers, months and days.",
                "example": DEFAULT_LOCALE,
                "x-enum-name": "ChartLocale",
            },
        ),
        "width": ma.fields.Integer(
            load_default=DEFAULT_WIDTH,
            validate=ma.validate.Range(MIN_WIDTH, MAX_WIDTH),
            metadata={"description": "Width of a picture in pixels.", "example": DEFAULT_WIDTH},
        ),
        "scale": ma.fields.Integer(
            load_default=1,
            validate=ma.validate.Range(1, MAX_SCALE),
            metadata={"description": "Multiplies the pixels of a PNG: 2 for dense screens.", "example": 1},
        ),
    }


def _options(params: Mapping[str, Any]) -> PictureOptions | None:
    """How to draw; None for the document."""
    preferred = request.accept_mimetypes.best_match([JSON, *FORMAT_BY_TYPE], default=JSON)
    form: Any = params.get("format") or FORMAT_BY_TYPE.get(preferred or JSON, DOCUMENT)
    if form == DOCUMENT:
        return None
    return PictureOptions(form, params["theme"], params["locale"], params["width"], params["scale"])


def _etag(of_endpoint: str, chart: OfferedChart, theme: str, options: PictureOptions | None) -> str:
    """The chart's ETag: the endpoint's, the chart's name, and how it is drawn; '' if the endpoint's answers are not cached."""
    tag = of_endpoint.strip('"')
    if not tag:
        return ""
    if options is None:
        return f'"{tag}-{chart.name}"' if theme == THEMES[0] else f'"{tag}-{chart.name}-{theme}"'
    return f'"{tag}-{chart.name}-{options.format}-{theme}-{options.locale}-{options.width}-{options.scale}"'


def _is_current(etag: str) -> bool:
    return request.method == "GET" and parse_etags(request.headers.get("If-None-Match")).contains_weak(etag.strip('"'))


def _varying(response: Response) -> Response:
    response.headers["Vary"] = "Accept"
    return response
