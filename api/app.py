"""The WSGI application: one Flask app per contract, and what swaps it when another contract is published."""

from __future__ import annotations

import logging
import re
import threading
import uuid
from collections.abc import Iterable
from copy import deepcopy
from importlib.metadata import metadata, version
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request
from flask_smorest import Api
from werkzeug.exceptions import HTTPException

from api.contract import Endpoint, read_contract
from api.documentation import TITLE, documentation_blueprint, finished_document
from api.endpoints import analytics_blueprint
from api.errors import ApiError, WarehouseUnavailable
from api.health import health_blueprint
from api.keys import Keys
from api.publication import Publication, Publications
from api.responses import error_response
from api.schemas import ErrorResponse
from api.settings import Settings
from api.warehouse import Warehouse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LOG = logging.getLogger(__name__)
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
HTTP_CODES = {
    400: "MALFORMED_REQUEST",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "CONTENT_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
}
LARGEST_BODY = 64 * 1024


class Service:
    """The WSGI callable. Follows the publication: a contract that changed is served from the next request on."""

    def __init__(self, settings: Settings) -> None:
        self._warehouse = Warehouse(settings)
        self._publications = Publications(self._warehouse, settings.target)
        self._keys = Keys(self._warehouse)
        self._lock = threading.Lock()
        self._contract_id = ""
        self._app = self._make((), ready=False)
        self._warehouse.open()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # a process lives whether or not its database does, and says so without waiting for it
        app = self._app if environ.get("PATH_INFO") == "/healthz" else self.current()
        return app(environ, start_response)

    def current(self) -> Flask:
        """The app of the published contract; the last one that there was while the database is away."""
        try:
            publication = self._publications.current()
        except WarehouseUnavailable:
            return self._app
        if publication is not None and publication.contract_id != self._contract_id:
            with self._lock:
                if publication.contract_id != self._contract_id:
                    self._serve(publication)
        return self._app

    def _serve(self, publication: Publication) -> None:
        # tried once: what cannot be served now is no better at the next request
        self._contract_id = publication.contract_id
        try:
            self._app = self._make(read_contract(publication.contract), ready=True)
        except Exception:
            # of another release of ours, say; the endpoints of the contract before go on
            LOG.exception("the contract of batch %s cannot be served; the one before is kept", publication.batch_id)
        else:
            LOG.info("serving the contract of batch %s", publication.batch_id)

    def close(self) -> None:
        """Gives everything back."""
        self._keys.close()
        self._warehouse.close()

    def _make(self, endpoints: tuple[Endpoint, ...], *, ready: bool) -> Flask:
        return create_app(endpoints, self._warehouse, self._publications, self._keys, ready=ready)


def create_app(
    endpoints: tuple[Endpoint, ...], warehouse: Warehouse, publications: Publications, keys: Keys, *, ready: bool = True
) -> Flask:
    """The Flask app of a contract. With `ready` false there is none yet: what is not found is unavailable instead."""
    app = Flask(__name__, static_folder=None)
    # a copy: flask-smorest writes an app's schemas into the options that it is given
    app.config.update(MAX_CONTENT_LENGTH=LARGEST_BODY, **deepcopy(OPENAPI))
    api = AnalyticsApi(app)
    api.register_blueprint(analytics_blueprint(endpoints, warehouse, publications, keys))
    document = finished_document(api.spec.to_dict())
    app.extensions["openapi"] = document
    app.register_blueprint(documentation_blueprint(document))
    app.register_blueprint(health_blueprint(publications))

    @app.before_request
    def name_request() -> None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex

    @app.after_request
    def send_name(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @app.errorhandler(ApiError)
    def answer(error: ApiError) -> Response:
        return error_response(error)

    @app.errorhandler(404)
    def answer_not_found(error: HTTPException) -> Response:
        if not ready:
            return error_response(WarehouseUnavailable("Nothing is published yet; run `mailmart build`.", retry_after=60))
        return api.handle_http_exception(error)

    @app.errorhandler(Exception)
    def answer_unforeseen(error: Exception) -> Response:
        LOG.error("request %s failed", g.get("request_id"), exc_info=error)
        return error_response(ApiError("Something went wrong on our side; the request's id helps to find it."))

    return app


def api_document(settings: Settings, endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    """The OpenAPI document of a contract; no database is asked."""
    warehouse = Warehouse(settings)
    app = create_app(endpoints, warehouse, Publications(warehouse, settings.target), Keys(warehouse))
    document: dict[str, Any] = app.extensions["openapi"]
    return document


class AnalyticsApi(Api):  # type: ignore[misc]
    """flask-smorest, with our envelope around every error."""

    ERROR_SCHEMA = ErrorResponse

    def handle_http_exception(self, error: HTTPException) -> Response:
        """An error of HTTP's own, with its headers (a 405 keeps its Allow)."""
        status = error.code or 500
        if status >= 500:
            LOG.error("request %s failed", g.get("request_id"), exc_info=error)
        answer = ApiError("There is nothing at this path" if status == 404 else error.description or error.name)
        answer.status = status
        answer.code = HTTP_CODES.get(status, "INTERNAL_ERROR" if status >= 500 else "MALFORMED_REQUEST")
        answer.headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
        return error_response(answer)


def _licence() -> dict[str, str]:
    """What pyproject.toml says. It names none yet, and NONE is SPDX's word for that."""
    named = str(metadata("mailmart").json.get("license_expression", ""))
    return {"name": named or "None is given", "identifier": named or "NONE"}


OPENAPI: dict[str, Any] = {
    "API_TITLE": TITLE,
    "API_VERSION": "v1",
    "OPENAPI_VERSION": "3.1.0",
    "API_SPEC_OPTIONS": {
        "info": {
            "description": "What became of the mail: campaign, workspace, deliverability and heatmap analytics.\n\n"
            "Counts belong to the day on which a message was sent. Rates are percentages. Times are UTC.",
            "contact": {"name": "The operator of this service"},
            "license": _licence(),
            "x-release": version("mailmart"),
        },
        "components": {
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key: `mm_…`, from `mailmart keys create`.",
                }
            }
        },
        "security": [{"apiKey": []}],
        "servers": [{"url": "/", "description": "This service."}],
    },
}
