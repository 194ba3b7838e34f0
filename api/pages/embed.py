"""GET /embed: one chart, for a frame in a page of the operator's product. The signed token is the only credential."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, render_template, request
from werkzeug.exceptions import HTTPException

from api.analytics.charts import DOCUMENT, OPTION_NAMES, View
from api.auth.guard import RequestGuard
from api.errors import INVALID, ApiError, NotFound, ValidationFailed
from api.pages.assets import static_files
from api.pages.chart_bundle import ChartBundle
from api.pages.embed_token import EmbedToken, EmbedTokenVerifier
from api.web.operations import Operation, load_arguments
from api.web.paths import WORKSPACES, encode_segment, routed_path
from api.web.request_context import current_request_context
from api.web.security_headers import POLICY_HEADER

PATH = "/embed"
MODULES = ("api.js", "chart.js", "dom.js", "embed.js", "session.js")
# requests a minute, of one token
LIMIT = 120
COUNTED_AS = "embed"


def embed_blueprint(
    operations: Mapping[str, tuple[Operation, View]],
    guard: RequestGuard,
    bundle: ChartBundle,
    verifier: EmbedTokenVerifier,
    origins: Sequence[str],
    check_published: Callable[[], object],
) -> Blueprint:
    """`operations` are the charts that can be shown, by the names of their routes.

    `origins` are those of the pages that may show them in a frame.

    `check_published` raises an ApiError if nothing is published yet.
    """
    blueprint = Blueprint("embed", __name__, template_folder="templates")
    files = static_files()
    policy = embed_policy(origins)

    def show(status: int, headers: Mapping[str, str], **values: Any) -> Response:
        # without a document, there is nothing for a script to do
        scripts = {"modules": MODULES, "script": "embed.js"} if values["document"] else {}
        html = render_template(
            "embed.html", title="Chart", assets=f"assets/{files.digest}", bundle=f"assets/{bundle.name}", **scripts, **values
        )
        own = {POLICY_HEADER: policy, "Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
        return Response(html, status, mimetype="text/html", headers={**headers, **own})

    @blueprint.get(PATH)
    def embed() -> Response:
        context = current_request_context()
        context.endpoint = "embed"
        # the answer behind the page is another one than the page
        request.environ.pop("HTTP_IF_NONE_MATCH", None)
        token = None
        try:
            if not verifier.is_configured:
                raise NotFound("NOT_FOUND")
            token = verifier.verify(request.args.get("token", ""))
            context.authorized = guard.authorize_token(token.workspace_id, token.digest, COUNTED_AS, LIMIT)
            check_published()
            document = _document(operations, token)
        except ApiError as error:
            context.error_code = error.code
            theme = token.theme if token else ""
            details = [f"{name}: {text}" for name, texts in (error.details or {}).items() for text in texts]
            return show(error.status, error.headers, theme=theme, message=error.message, details=details, document=None)
        return show(200, {}, theme=token.theme, message="", details=[], document=orjson.dumps(document).decode())

    return blueprint


def embed_policy(origins: Sequence[str]) -> str:
    """The policy of the page: its own script and style, no connection, and a frame in pages of these origins only."""
    ancestors = " ".join(origins) or "'none'"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none';"
        f" frame-ancestors {ancestors}"
    )


def _document(operations: Mapping[str, tuple[Operation, View]], token: EmbedToken) -> dict[str, Any]:
    operation, view, path = _find(operations, token)
    options = [name for name in token.params if name in OPTION_NAMES]
    if options:
        raise ValidationFailed(INVALID, details={options[0]: ["Is no parameter of an embedded chart."]})
    params = load_arguments(operation, token.params)
    response = view({**params, "format": DOCUMENT}, path)
    document: dict[str, Any] = orjson.loads(response.get_data())
    return document


def _find(operations: Mapping[str, tuple[Operation, View]], token: EmbedToken) -> tuple[Operation, View, dict[str, str]]:
    """The operation of the token's chart, by the routes of the API, and the parameters in its path.

    Raises:
        NotFound: there is no such chart.
    """
    path = routed_path(f"{WORKSPACES}/{encode_segment(token.workspace_id)}{token.chart}")
    for method in ("GET", "POST"):
        try:
            endpoint, arguments = current_app.url_map.bind("").match(path, method=method)
        except HTTPException:
            continue
        if endpoint in operations:
            operation, view = operations[endpoint]
            return operation, view, dict(arguments)
    raise NotFound("CHART_NOT_FOUND", id=token.chart)
