"""The WSGI application: one Flask app per contract, and what swaps it when another contract is published."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib.metadata import metadata, version
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from flask_cors import CORS
from flask_smorest import Api
from werkzeug.exceptions import HTTPException

from api.analytics.cache import ResponseCache
from api.analytics.fast_path import FastPath
from api.analytics.routes import AnalyticsServices, analytics_blueprint
from api.auth.api_keys import ApiKeyStore
from api.auth.guard import RequestGuard
from api.auth.jwt import JwtVerifier
from api.auth.rate_limit import RateLimiter
from api.contract.export_types import read_catalogue
from api.contract.exposures import read_contract
from api.contract.publication import Publication, Publications
from api.db.pool import ConnectionPool
from api.errors import ApiError, ContractError, Forbidden, WarehouseUnavailable
from api.exports.downloads import Downloads, downloads_blueprint
from api.exports.routes import ExportServices, exports_blueprint
from api.exports.storage import storage_of
from api.observability.posthog import Telemetry
from api.reports.routes import reports_blueprint
from api.server.health import health_blueprint
from api.settings import Settings
from api.web.openapi import TITLE, documentation_blueprint, postprocess_openapi
from api.web.request_log import Record, record_of
from api.web.responses import error_response
from api.web.schemas import ErrorResponse
from api.web.security_headers import with_browser_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LOG = logging.getLogger(__name__)
HTTP_CODES = {
    400: "MALFORMED_REQUEST",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "CONTENT_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
}
LARGEST_BODY = 64 * 1024
NAMES = "Give the model's config.meta.schema_names other names; of two exposures with one view, each names it by itself."
# what a page of another origin may send, and read
ALLOWED = ["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "X-Request-Id"]
EXPOSED = ["ETag", "Location", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "X-Request-Id"]


class Service:
    """The WSGI callable. Follows the publication: a contract that changed is served from the next request on."""

    def __init__(self, settings: Settings) -> None:
        self._pool = ConnectionPool(settings)
        self._target = settings.target
        self._publications = Publications(self._pool, self._target)
        self._keys = ApiKeyStore(self._pool)
        self._limits = RateLimiter(settings)
        self._answers = ResponseCache(settings.response_cache_mb)
        self._guard = RequestGuard(self._keys, JwtVerifier(settings), self._limits)
        self._downloads = Downloads(settings, storage_of(settings), self._pool)
        self._origins = settings.cors_origins
        self._telemetry = Telemetry(settings)
        self._webhook_allow = settings.webhook_allowed_networks
        self._lock = threading.Lock()
        self._contract_id = ""
        self._served = self._make({"exposures": {}, "nodes": {}}, ready=False)
        self._pool.open()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        record = Record(environ)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            record.status = int(status[:3])
            return start_response(status, with_browser_headers(headers + record.headers()), exc_info)

        try:
            return self._answer(environ, start)
        finally:
            record.end()
            failure = record.failure()
            if failure is not None:
                self._telemetry.capture("api_error", failure)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # a process lives whether or not its database does, and says so without waiting for it
        if environ["PATH_INFO"] == "/healthz":
            return self._served.app(environ, start_response)
        publication = self.current()
        served = self._served
        answer = served.fast_path.answer(environ, start_response, publication)
        return served.app(environ, start_response) if answer is None else answer

    def current(self) -> Publication | None:
        """The publication, once its contract is served; None without one, and while the database is away."""
        try:
            publication = self._publications.current()
        except WarehouseUnavailable:
            return None
        if publication is not None and publication.contract_id != self._contract_id:
            # whoever comes meanwhile waits: the app before knows neither the new columns nor, at the start, any endpoint
            with self._lock:
                if publication.contract_id != self._contract_id:
                    self._serve(publication)
                    # tried once: what cannot be served now is no better at the next request
                    self._contract_id = publication.contract_id
        return publication

    def _serve(self, publication: Publication) -> None:
        try:
            self._served = self._make(publication.contract, ready=True)
        except Exception:
            # of another release of ours, say; the endpoints of the contract before go on
            LOG.exception("the contract of batch %s cannot be served; the one before is kept", publication.batch_id)
        else:
            LOG.info("serving the contract of batch %s", publication.batch_id)

    def close(self) -> None:
        """Gives everything back."""
        self._limits.close()
        self._keys.close()
        self._pool.close()
        self._telemetry.close()

    def _make(self, contract: Mapping[str, Any], *, ready: bool) -> Served:
        services = AnalyticsServices(
            self._pool,
            self._publications,
            self._guard,
            self._answers,
            self._downloads,
            self._webhook_allow,
            self._target,
        )
        fast_path = FastPath(self._guard, self._answers)
        return Served(create_app(contract, services, fast_path, self._origins, ready=ready), fast_path)


@dataclass(frozen=True)
class Served:
    """What serves a contract: the app, and the short way past it."""

    app: Flask
    fast_path: FastPath


def create_app(
    contract: Mapping[str, Any],
    services: AnalyticsServices,
    fast_path: FastPath,
    origins: tuple[str, ...] = (),
    *,
    ready: bool = True,
) -> Flask:
    """The Flask app of a contract (a manifest, or the part of it that is published), callable by pages of the origins.

    With `ready` false there is no contract yet: what is not found is unavailable instead.

    Raises:
        ContractError: two objects of the document would have one name.
    """
    app = Flask(__name__, static_folder=None)
    # a redirect would go where the request's Host says
    app.url_map.merge_slashes = False
    # a copy: flask-smorest writes an app's schemas into the options that it is given
    app.config.update(MAX_CONTENT_LENGTH=LARGEST_BODY, **deepcopy(OPENAPI))
    api = AnalyticsApi(app)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Multiple schemas resolved to the name")
        try:
            api.register_blueprint(analytics_blueprint(read_contract(contract), services, fast_path))
            exports = ExportServices(services.pool, services.publications, services.downloads, read_catalogue(contract))
            if ready:
                for blueprint in (
                    exports_blueprint(exports, services.guard),
                    reports_blueprint(exports, services.guard, services.webhook_allowed_networks),
                ):
                    if services.target != "production":
                        blueprint.before_request(partial(_refuse, services.target))
                    api.register_blueprint(blueprint)
        except UserWarning as warning:
            raise ContractError(f"two objects of the document have one name: {warning}", hint=NAMES) from warning
    document = postprocess_openapi(api.spec.to_dict())
    app.extensions["openapi"] = document
    app.register_blueprint(documentation_blueprint(document))
    app.register_blueprint(health_blueprint(services.publications))
    app.register_blueprint(downloads_blueprint(services.downloads))

    if origins:
        CORS(app, origins=list(origins), expose_headers=EXPOSED, allow_headers=ALLOWED, max_age=600)

    @app.errorhandler(ApiError)
    def answer(error: ApiError) -> Response:
        return error_response(error, record_of(request.environ))

    @app.errorhandler(404)
    def answer_not_found(error: HTTPException) -> Response:
        if not ready:
            nothing_yet = WarehouseUnavailable("Nothing is published yet; run `mailmart build`.", retry_after=60)
            return error_response(nothing_yet, record_of(request.environ))
        return api.handle_http_exception(error)

    @app.errorhandler(Exception)
    def answer_unforeseen(error: Exception) -> Response:
        record = record_of(request.environ)
        LOG.error("request %s failed", record.request_id, exc_info=error)
        return error_response(ApiError("Something went wrong on our side; the request's id helps to find it."), record)

    return app


def _refuse(target: str) -> None:
    """Refuses exports and reports for other targets: their tables do not know which target a row belongs to."""
    # a browser asks what it may, whatever comes of it
    if request.method != "OPTIONS":
        raise Forbidden(f"Exports and reports are made of production alone, and this service serves {target}")


def api_document(settings: Settings, contract: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAPI document of a contract; no database is asked, and no storage."""
    pool, answers = ConnectionPool(settings), ResponseCache(0)
    guard = RequestGuard(ApiKeyStore(pool), JwtVerifier(settings), RateLimiter(settings))
    downloads = Downloads(settings, storage_of(settings), pool)
    services = AnalyticsServices(pool, Publications(pool, settings.target), guard, answers, downloads)
    app = create_app(contract, services, FastPath(guard, answers))
    document: dict[str, Any] = app.extensions["openapi"]
    return document


class AnalyticsApi(Api):  # type: ignore[misc]
    """flask-smorest, with our envelope around every error."""

    ERROR_SCHEMA = ErrorResponse

    def handle_http_exception(self, error: HTTPException) -> Response:
        """An error of HTTP's own, with its headers (a 405 keeps its Allow)."""
        status = error.code or 500
        if status >= 500:
            LOG.error("request %s failed", record_of(request.environ).request_id, exc_info=error)
        answer = ApiError("There is nothing at this path" if status == 404 else error.description or error.name)
        answer.status = status
        answer.code = HTTP_CODES.get(status, "INTERNAL_ERROR" if status >= 500 else "MALFORMED_REQUEST")
        answer.headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
        return error_response(answer, record_of(request.environ))


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
                    "description": "An API key (`mm_…`, from `mailmart keys create`), or a token (JWT) with a `workspace_id`,"
                    " where the operator has configured a key for them.",
                }
            }
        },
        "security": [{"apiKey": []}],
        "servers": [{"url": "/", "description": "This service."}],
    },
}
