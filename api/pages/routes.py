"""The pages' addresses, and the address by which a page learns whose key it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Blueprint, Response, abort, render_template, request

from api.auth.guard import RequestGuard
from api.contract.contract import Contract
from api.errors import NotFound
from api.exports.formats import FORMATS
from api.pages.assets import static_files
from api.pages.chart_bundle import ChartBundle
from api.web.request_context import current_request_context
from api.web.responses import resource_response
from api.web.security_headers import PAGES_POLICY, POLICY_HEADER

CREDENTIAL_PATH = "/api/v1/credential"
CREDENTIAL_LIMIT = 60
ASSETS = "/assets"


@dataclass(frozen=True)
class Page:
    """A page: its path, its title, and its name in the menu ('' if another page links to it)."""

    name: str
    path: str
    title: str
    label: str


PAGES = (
    Page("overview", "/", "Overview", "Overview"),
    Page("campaigns", "/campaigns", "Campaigns", "Campaigns"),
    Page("campaign", "/campaign", "Campaign", ""),
    Page("compare", "/compare", "Compare campaigns", "Compare"),
    Page("deliverability", "/deliverability", "Deliverability", "Deliverability"),
    Page("heatmap", "/heatmap", "Best time to send", "Best time"),
    Page("query", "/query", "Ask a question", "Query"),
    Page("sources", "/sources", "Sources and data quality", "Data"),
    Page("exports", "/exports", "Exports and reports", "Exports"),
    Page("charts", "/charts", "More charts", ""),
)
# fetched at once, and not one after the other as each names the next
MODULES = ("address.js", "api.js", "chart.js", "dom.js", "format.js", "parts.js", "session.js", "table.js")
# endpoints whose charts have a page of their own; those of all others are on the page "charts"
WITH_PAGE = frozenset(
    (
        "workspace_overview",
        "workspace_series",
        "campaign_analytics",
        "compare_campaigns",
        "deliverability",
        "engagement_heatmap",
    )
)


def pages_blueprint(contract: Contract, guard: RequestGuard, bundle: ChartBundle) -> Blueprint:
    """The pages, their files, and GET /api/v1/credential."""
    blueprint = Blueprint("pages", __name__, template_folder="templates")
    files = static_files()
    has_more_charts = any(_is_on_charts_page(contract, name) for name in contract.charts)
    hidden = {page.name for page in PAGES if not page.label} - ({"charts"} if has_more_charts else set())
    if contract.semantic_layer.endpoint is None:
        hidden.add("query")
    menu = [page for page in PAGES if page.name not in hidden]

    def show(page: Page) -> Callable[[], Response]:
        def view() -> Response:
            current_request_context().endpoint = "page"
            if not _wants_page():
                abort(404)
            html = render_template(
                "page.html",
                page=page,
                title=page.title,
                script="app.js",
                menu=menu,
                assets=f"assets/{files.digest}",
                modules=[*MODULES, f"{page.name}.js"],
                bundle=f"assets/{bundle.name}",
                settings=orjson.dumps(_settings(contract)).decode(),
            )
            headers = {POLICY_HEADER: PAGES_POLICY, "Cache-Control": "no-store", "Vary": "Accept", "X-Robots-Tag": "noindex"}
            return Response(html, mimetype="text/html", headers=headers)

        return view

    for page in PAGES:
        blueprint.add_url_rule(page.path, endpoint=page.name, view_func=show(page), methods=["GET"])

    @blueprint.get(f"{ASSETS}/<digest>/<name>")
    def asset(digest: str, name: str) -> Response:
        current_request_context().endpoint = "asset"
        if digest != files.digest or name not in files.files:
            raise NotFound("NOT_FOUND")
        return files.files[name].response()

    @blueprint.get(f"{ASSETS}/<name>")
    def chart_bundle(name: str) -> Response:
        current_request_context().endpoint = "asset"
        if name != bundle.name:
            raise NotFound("NOT_FOUND")
        return bundle.file().response()

    @blueprint.get(CREDENTIAL_PATH)
    def credential() -> Response:
        context = current_request_context()
        context.endpoint = "credential"
        principal, context.authorized = guard.identify(
            request.headers.get("Authorization"), "credential", CREDENTIAL_LIMIT, address=request.remote_addr or ""
        )
        return resource_response({"workspace_id": principal.workspace_id, "scopes": sorted(principal.scopes)})

    return blueprint


def _wants_page() -> bool:
    """Whether the client prefers HTML, as browsers do. Programs, which accept anything or JSON, get the API's own 404."""
    types = ["application/json", "text/html"]
    return request.accept_mimetypes.best_match(types, default=types[0]) == "text/html"


def _is_on_charts_page(contract: Contract, name: str) -> bool:
    (endpoint,) = [endpoint for endpoint in contract.endpoints if endpoint.name == name]
    return name not in WITH_PAGE and endpoint.method == "get" and not endpoint.path_parameters


def _settings(contract: Contract) -> dict[str, Any]:
    """What the script needs to know of the contract; nothing of any tenant."""
    return {
        "endpoints": {
            endpoint.name: {
                "label": endpoint.label,
                "description": endpoint.description,
                "path": endpoint.path,
                "method": endpoint.method,
                "parameters": {name: list(choices) for name, choices in endpoint.parameters.items()},
                "charts": [
                    {
                        "name": chart.name,
                        "title": chart.title,
                        "description": chart.description,
                        # where its rows are in the endpoint's answer
                        "path": chart.section.path,
                        "params": chart.params,
                    }
                    for chart in contract.charts.get(endpoint.name, ())
                ],
                "is_on_charts_page": endpoint.name in contract.charts and _is_on_charts_page(contract, endpoint.name),
            }
            for endpoint in contract.endpoints
        },
        "query": _query_settings(contract),
        "exportTypes": {
            name: {"description": kind.description, "takesCampaigns": kind.takes_campaigns}
            for name, kind in contract.catalogue.types.items()
            # the form has no place for a query
            if not kind.is_query
        },
        "exportFormats": list(FORMATS),
    }


def _query_settings(contract: Contract) -> dict[str, Any] | None:
    """What can be queried; None if the contract has no queries."""
    layer = contract.semantic_layer
    if layer.endpoint is None:
        return None
    return {
        "path": layer.endpoint.path,
        "exportType": next((name for name, kind in contract.catalogue.types.items() if kind.is_query), None),
        "metrics": [[metric.name, metric.label] for metric in layer.metrics.values()],
        "dimensions": [[dimension.name, dimension.label] for dimension in layer.dimensions.values()],
    }
