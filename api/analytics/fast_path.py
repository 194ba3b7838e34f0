"""The fast path: a GET that was seen before skips routing and parsing, and the query too if its response is cached.

Credential and rate limit are checked as on the slow path, which is Flask. A request that the fast path cannot answer continues
there, and is not counted again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import psycopg
from cachetools import LRUCache

from api.analytics.cache import ResponseCache, entity_tag
from api.analytics.conditional_get import body_unless_current
from api.auth.guard import RequestGuard
from api.contract.exposures import Endpoint
from api.contract.publication import Publication
from api.db.request_context import AS_OF, WORKSPACE_ID
from api.errors import ApiError
from api.web.request_context import RequestContext, request_context_of
from api.web.responses import JSON_CONTENT_TYPE, cache_headers, error_response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MAX_REQUESTS = 20_000
MAX_URL_LENGTH = 1024

# path and query
Target = tuple[str, str]
# builds the body from the publication, under the settings. Raises ApiError or psycopg.Error.
BuildBody = Callable[[RequestContext, Publication, Mapping[str, str]], bytes]


@dataclass
class ResolvedRequest:
    """What a path and a query resolve to on one day.

    Attributes:
        workspace_id: the path's.
        settings: of the request context, with the credential's workspace.
        response_fields: fields that the response repeats from the request.
        publication: the one that `etag` belongs to.
    """

    endpoint: Endpoint
    workspace_id: str
    settings: Mapping[str, str]
    response_fields: Mapping[str, Any]
    day: date
    publication: Publication
    etag: str
    build_body: BuildBody

    def settings_as_of(self, publication: Publication) -> Mapping[str, str]:
        """The settings for reading another publication."""
        return {**self.settings, AS_OF: str(publication.batch_id)}

    def etag_as_of(self, publication: Publication) -> str:
        """The ETag for a publication; the last one is kept."""
        if self.publication is not publication:
            self.etag = entity_tag(publication, self.endpoint, self.settings_as_of(publication), self.response_fields)
            self.publication = publication
        return self.etag


class FastPath:
    """The resolved requests of one contract."""

    def __init__(self, guard: RequestGuard, cache: ResponseCache) -> None:
        self._guard = guard
        self._cache = cache
        self._requests: LRUCache[Target, ResolvedRequest] = LRUCache(MAX_REQUESTS)
        self._lock = threading.Lock()

    def store(self, environ: WSGIEnvironment, request: ResolvedRequest) -> None:
        """Remembers what the request of this environ resolves to."""
        target = _target(environ)
        if len(target[0]) + len(target[1]) > MAX_URL_LENGTH:
            return
        with self._lock:
            self._requests[target] = request

    def respond(
        self, environ: WSGIEnvironment, start_response: StartResponse, publication: Publication | None
    ) -> Iterable[bytes] | None:
        """The response; None if the request needs the slow path."""
        # only the slow path makes the headers for other origins
        if environ["REQUEST_METHOD"] != "GET" or publication is None or "HTTP_ORIGIN" in environ:
            return None
        with self._lock:
            request = self._requests.get(_target(environ))
        # time ranges change with the day
        if request is None or request.day != datetime.now(UTC).date():
            return None
        context = request_context_of(environ)
        context.endpoint = request.endpoint.name
        try:
            authorized = self._guard.authorize(
                environ.get("HTTP_AUTHORIZATION"),
                request.workspace_id,
                "read",
                request.endpoint.name,
                request.endpoint.limit,
                address=environ.get("REMOTE_ADDR", ""),
            )
            context.authorized = authorized
            # the path's workspace differs from the credential's: use the slow path
            if authorized.workspace_id != request.settings[WORKSPACE_ID]:
                return None
            etag = request.etag_as_of(publication)
            body = body_unless_current(
                context,
                self._cache,
                etag,
                environ.get("HTTP_IF_NONE_MATCH"),
                lambda: request.build_body(context, publication, request.settings_as_of(publication)),
            )
        except ApiError as error:
            return error_response(error, context)(environ, start_response)
        except psycopg.Error:
            # the slow path has the handler for unexpected errors
            return None
        if body is None:
            start_response("304 NOT MODIFIED", cache_headers(etag))
            return ()
        start_response("200 OK", [JSON_CONTENT_TYPE, ("Content-Length", str(len(body))), *cache_headers(etag)])
        return (body,)


def _target(environ: WSGIEnvironment) -> Target:
    return environ["PATH_INFO"], environ.get("QUERY_STRING", "")
