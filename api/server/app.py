"""The WSGI app: one Flask app for each contract, replaced when another contract is published."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask, request
from flask_cors import CORS

from api.analytics.cache import ResponseCache
from api.analytics.fast_path import FastPath, Target
from api.analytics.routes import ANALYTICS, analytics_blueprint, chart_operations
from api.analytics.services import AnalyticsServices
from api.auth.api_keys import ApiKeyStore
from api.auth.guard import RequestGuard
from api.auth.jwt import JwtVerifier
from api.auth.rate_limit import RateLimiter
from api.contract.contract import Contract, read_contract
from api.contract.publication import Publication, PublicationCache
from api.db.loop_queries import LoopQueries
from api.db.pool import ConnectionPool
from api.db.replica import RoutedPool
from api.drawing.drawer import Drawer
from api.errors import ApiError, ContractError, Forbidden, InvalidHost, WarehouseUnavailable
from api.exports.downloads import Downloads, downloads_blueprint
from api.exports.routes import ExportServices, exports_blueprint
from api.exports.storage import storage_of
from api.intake.events.routes import SCOPE as INGEST
from api.intake.events.routes import events_blueprint
from api.net.client_address import client_address
from api.observability.posthog import Telemetry
from api.observability.replica_metrics import REPLICA_REPORTS
from api.pages.chart_bundle import ChartBundle
from api.pages.embed import embed_blueprint
from api.pages.embed_token import EmbedTokenVerifier
from api.pages.routes import CREDENTIAL_LIMIT, pages_blueprint
from api.reports.opt_out import opt_out_blueprint
from api.reports.routes import ReportServices, reports_blueprint
from api.server.asgi import CompleteResponse, Unfinished, encode_headers, raw_path
from api.server.asgi_types import Scope
from api.server.health import health_blueprint
from api.settings import Settings
from api.web.error_examples import MAX_BODY_BYTES
from api.web.error_handlers import EnvelopeApi, register_error_handlers
from api.web.openapi import OPENAPI_OPTIONS, documentation_blueprint, postprocess_openapi
from api.web.paths import IdConverter, prepare_path
from api.web.request_context import ENVIRON_KEY, RequestContext, request_context_of
from api.web.request_log import log_request, server_error_properties
from api.web.responses import error_response
from api.web.security_headers import with_security_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LOG = logging.getLogger(__name__)
# headers that pages of other origins may send, and read
CORS_REQUEST_HEADERS = ["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "X-Request-Id"]
CORS_RESPONSE_HEADERS = [
    "ETag",
    "Location",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "X-Request-Id",
]
CORS_MAX_AGE_SECONDS = 600


class WsgiApp:
    """The WSGI callable of a process. When another contract is published, the next request gets that contract's app."""

    def __init__(self, settings: Settings, telemetry: Telemetry | None = None) -> None:
        """`telemetry` is by default what the settings configure; `close` closes it too."""
        self._settings = settings
        self._pool = RoutedPool(settings, REPLICA_REPORTS)
        self._loop_queries = LoopQueries(self._pool, settings.pool_timeout_seconds)
        self._publications = PublicationCache(self._pool, settings.target)
        self._keys = ApiKeyStore(self._pool)
        self._limiter = RateLimiter(settings)
        guard = RequestGuard(self._keys, JwtVerifier(settings), self._limiter)
        cache = ResponseCache(settings.response_cache_mb)
        self._services = AnalyticsServices(self._pool, self._publications, guard, cache, Drawer())
        self._chart_bundle = ChartBundle(settings.home)
        self._downloads = Downloads(settings, storage_of(settings), self._pool)
        self._telemetry = telemetry or Telemetry(settings, "mailmart_api")
        self._security_headers = encode_headers(with_security_headers([]))
        self._lock = threading.Lock()
        self._contract_id = ""
        self._contract_app = self._create_contract_app(Contract(), is_published=False)
        self._pool.open()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        prepare_path(environ, self._settings.public_path)
        # the event loop may have begun it
        context = environ.get(ENVIRON_KEY) or RequestContext(environ)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            context.status = int(status[:3])
            return start_response(status, with_security_headers(headers + context.headers()), exc_info)

        try:
            return self._respond(environ, start)
        finally:
            self._end(context)

    async def respond_on_loop(self, scope: Scope, body: bytes = b"") -> CompleteResponse | Unfinished | None:
        """The response to a GET or a POST with a credential that was seen before, without a thread.

        None if it needs one: then this WSGI app responds, and counts the request. If it was counted before that was known, the
        environment of WSGI gets its context.
        """
        headers: dict[bytes, bytes] = dict(scope["headers"])
        # a repeated header, or several hosts; and only Flask makes the headers for other origins
        if len(headers) != len(scope["headers"]) or b"," in headers.get(b"host", b"") or b"origin" in headers:
            return None
        publication = self._publications.unless_expired()
        if publication is None or publication.contract_id != self._contract_id:
            return None
        fast_path = self._contract_app.fast_path
        target = Target(
            scope["method"],
            raw_path(scope).decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            _text(headers, b"content-type") if body else "",
            body,
        )
        found = fast_path.find(target, _text(headers, b"authorization"))
        if found is None:
            return None
        if_none_match = _text(headers, b"if-none-match") if found.is_conditional else ""
        answer = fast_path.cached(found, if_none_match, publication)
        # the threads' way of one request at a time that tries the database, and of two databases
        if answer is None and (self._pool.is_unavailable or self._pool.replica is not None):
            return None
        environ = {
            "REQUEST_METHOD": scope["method"],
            "PATH_INFO": found.path,
            "HTTP_X_REQUEST_ID": _text(headers, b"x-request-id"),
        }
        context = RequestContext(environ)
        context.authorized = await fast_path.count(found)
        if context.authorized is None:
            return None
        context.endpoint = found.name
        if answer is None:
            try:
                answer = await fast_path.compute(context, found, if_none_match, publication, self._loop_queries)
            except ApiError as error:
                context.source = "warehouse"
                return self._error(error, context, environ)
            # a bug of ours: the thread's handler logs it, and responds
            except Exception:  # noqa: BLE001
                answer = None
            if answer is None:
                return Unfinished({ENVIRON_KEY: context})
        context.source, context.status = answer.source, answer.status
        log_request(context)
        response_headers = encode_headers(answer.headers() + context.headers()) + self._security_headers
        return CompleteResponse(answer.status, response_headers, answer.body or b"")

    def workspace_of(self, environ: WSGIEnvironment) -> str | CompleteResponse:
        """The workspace of a request's credential, whatever its scopes; or the response that refuses the request.

        For /mcp, whose path names no workspace. Counts and logs it as a request for the credential.
        """
        context = RequestContext(environ)
        context.endpoint = "credential"
        try:
            principal, context.authorized = self._services.guard.identify(
                environ.get("HTTP_AUTHORIZATION"), "credential", CREDENTIAL_LIMIT, address=self._client_address(environ)
            )
        except ApiError as error:
            return self._error(error, context, environ)
        context.status = 200
        self._end(context)
        return principal.workspace_id

    def _error(self, error: ApiError, context: RequestContext, environ: WSGIEnvironment) -> CompleteResponse:
        response = error_response(error, context)
        context.status = response.status_code
        self._end(context)
        headers = [*response.get_wsgi_headers(environ), *context.headers()]
        return CompleteResponse(response.status_code, encode_headers(headers) + self._security_headers, response.get_data())

    def _end(self, context: RequestContext) -> None:
        log_request(context)
        properties = server_error_properties(context)
        if properties is not None:
            self._telemetry.capture("api_error", properties)

    def workspace_of_large_body(self, environ: WSGIEnvironment) -> str | None:
        """The workspace of a request whose credential allows large bodies, else None; for the server, before it reads the body.

        Raises:
            WarehouseUnavailable: the database is unavailable.
        """
        authorization = environ.get("HTTP_AUTHORIZATION")
        return self._services.guard.workspace_of(authorization, INGEST, address=self._client_address(environ))

    def close(self) -> None:
        """Closes all connections, ends the process that draws, and sends what telemetry still has."""
        self._services.drawer.close()
        self._limiter.close()
        self._keys.close()
        self._loop_queries.close()
        self._pool.close()
        self._telemetry.close()

    def _respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # several are joined by commas
        if "," in environ.get("HTTP_HOST", ""):
            return error_response(InvalidHost(), request_context_of(environ))(environ, start_response)
        if self._settings.trusted_proxies:
            environ["REMOTE_ADDR"] = self._client_address(environ)
        # liveness does not depend on the database, so it must not wait for it
        if environ["PATH_INFO"] == "/healthz":
            return self._contract_app.flask(environ, start_response)
        publication = self._current_publication()
        contract_app = self._contract_app
        response = contract_app.fast_path.respond(environ, start_response, publication)
        return contract_app.flask(environ, start_response) if response is None else response

    def _client_address(self, environ: WSGIEnvironment) -> str:
        forwarded_for = environ.get("HTTP_X_FORWARDED_FOR", "")
        return client_address(environ.get("REMOTE_ADDR", ""), forwarded_for, self._settings.trusted_proxies)

    def _current_publication(self) -> Publication | None:
        """The publication, once the app of its contract is in place; None before the first one and in an outage."""
        try:
            publication = self._publications.current()
        except WarehouseUnavailable:
            return None
        if publication is not None and publication.contract_id != self._contract_id:
            # concurrent requests wait: the app before lacks the new columns or, at the start, every endpoint
            with self._lock:
                if publication.contract_id != self._contract_id:
                    self._replace_contract_app(publication)
                    # also after a failure: the next request would fail the same way
                    self._contract_id = publication.contract_id
        return publication

    def _replace_contract_app(self, publication: Publication) -> None:
        try:
            self._contract_app = self._create_contract_app(publication.contract, is_published=True)
        except Exception:
            # for example, a newer release published it; the endpoints of the contract before keep working
            LOG.exception("cannot serve the contract of batch %s; keeping the previous one", publication.batch_id)
        else:
            LOG.info("serving the contract of batch %s", publication.batch_id)

    def _create_contract_app(self, contract: Contract, *, is_published: bool) -> ContractApp:
        fast_path = FastPath(self._services.guard, self._services.cache)
        flask = create_app(
            self._settings,
            contract,
            self._services,
            self._downloads,
            fast_path,
            self._chart_bundle,
            is_published=is_published,
        )
        return ContractApp(flask, fast_path)


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


@dataclass(frozen=True)
class ContractApp:
    """The app of one contract: Flask, and the fast path in front of it."""

    flask: Flask
    fast_path: FastPath


def create_app(
    settings: Settings,
    contract: Contract,
    services: AnalyticsServices,
    downloads: Downloads,
    fast_path: FastPath,
    chart_bundle: ChartBundle,
    *,
    is_published: bool = True,
) -> Flask:
    """The Flask app of a contract. With `is_published` false there is no contract yet: unknown paths are 503.

    Raises:
        ContractError: two objects of the OpenAPI document have the same name.
    """
    app = Flask(__name__, static_folder=None)
    # a redirect's Location would contain the Host that the client sent
    app.url_map.merge_slashes = False
    app.url_map.converters |= {"default": IdConverter, "string": IdConverter}
    # a copy: flask-smorest adds the app's schemas to these options
    app.config.update(MAX_CONTENT_LENGTH=MAX_BODY_BYTES, **deepcopy(OPENAPI_OPTIONS))
    api = EnvelopeApi(app)
    charts = chart_operations(contract, services)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Multiple schemas resolved to the name")
        try:
            api.register_blueprint(analytics_blueprint(contract, services, fast_path, charts))
            # also before the first build, which needs events
            api.register_blueprint(events_blueprint(services.pool, services.guard))
            if is_published:
                _register_exports_and_reports(api, settings, contract, services, downloads)
        except UserWarning as warning:
            raise ContractError(
                f"two objects of the OpenAPI document have the same name: {warning}",
                hint="Change config.meta.schema_names of one of the models. Without it, the exposure's name is used.",
            ) from warning
    document = postprocess_openapi(api.spec.to_dict())
    app.extensions["openapi"] = document
    app.register_blueprint(documentation_blueprint(document, settings.public_path))
    app.register_blueprint(health_blueprint(services.publications))
    app.register_blueprint(downloads_blueprint(downloads))
    app.register_blueprint(opt_out_blueprint(services.pool))
    app.register_blueprint(pages_blueprint(contract, services.guard, chart_bundle))
    app.register_blueprint(
        embed_blueprint(
            {f"{ANALYTICS}.{operation.operation_id}": (operation, view) for operation, view in charts},
            services.guard,
            chart_bundle,
            EmbedTokenVerifier(settings),
            settings.embed_origins,
            services.publications.require,
        )
    )
    if settings.cors_origins:
        CORS(
            app,
            # patterns: flask-cors reads a text with brackets, such as an IPv6 address, as a regular expression
            origins=[re.compile(rf"{re.escape(origin)}\Z", re.IGNORECASE) for origin in settings.cors_origins],
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_RESPONSE_HEADERS,
            max_age=CORS_MAX_AGE_SECONDS,
        )
    register_error_handlers(app, api, is_published=is_published)
    return app


def api_document(settings: Settings, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAPI document of a manifest; needs no database and no storage."""
    pool = ConnectionPool(settings)
    guard = RequestGuard(ApiKeyStore(pool), JwtVerifier(settings), RateLimiter(settings))
    services = AnalyticsServices(pool, PublicationCache(pool, settings.target), guard, ResponseCache(0), Drawer())
    downloads = Downloads(settings, storage_of(settings), pool)
    fast_path = FastPath(guard, services.cache)
    app = create_app(settings, read_contract(manifest), services, downloads, fast_path, ChartBundle(settings.home))
    document: dict[str, Any] = app.extensions["openapi"]
    return document


def _register_exports_and_reports(
    api: EnvelopeApi, settings: Settings, contract: Contract, services: AnalyticsServices, downloads: Downloads
) -> None:
    exports = ExportServices(services.pool, services.publications, services.guard, downloads, contract, settings.public_path)
    reports = ReportServices(
        services.pool,
        services.publications,
        services.guard,
        contract,
        settings.webhook_allowed_networks,
        settings.public_path,
    )
    for blueprint in (exports_blueprint(exports), reports_blueprint(reports)):
        if settings.target != "production":
            blueprint.before_request(partial(_reject_target, settings.target))
        api.register_blueprint(blueprint)


def _reject_target(target: str) -> None:
    """Rejects exports and reports of other targets: their tables do not have a target."""
    # a browser's preflight request may pass
    if request.method != "OPTIONS":
        raise Forbidden(f"Exports and reports are only available for the target production; this service serves {target}")
