"""The fast path: a GET that was seen before skips routing and parsing, and the query too if its response is cached.

Credential and rate limit are checked as on the slow path, which is Flask. A request that the fast path cannot answer continues
there, and is not counted again.

It is answered on the event loop (`find`, `count`, `body`), or in a thread (`respond`) if something is not as it mostly is: the
credential was not checked within the last second, the database is unavailable, a statement fails.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from cachetools import LRUCache

from api.analytics.cache import ResponseCache, entity_tag
from api.analytics.conditional_get import body_unless_current, cached_answer, store_body
from api.auth.guard import AuthorizedRequest, RequestGuard
from api.contract.exposures import Endpoint
from api.contract.publication import Publication
from api.db.loop_queries import LoopQueries
from api.db.prepared_statements import Rows
from api.db.request_context import AS_OF, WORKSPACE_ID
from api.errors import ApiError
from api.web.request_context import RequestContext, request_context_of
from api.web.responses import JSON_CONTENT_TYPE, cache_headers, error_response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MAX_REQUESTS = 20_000
MAX_URL_LENGTH = 1024
# of more rows, the body is made in a thread: the loop would keep others waiting for milliseconds
MAX_ROWS_ON_LOOP = 1000

# of a credential
SCOPE = "read"

# path and query, as the client sent them
Target = tuple[str, str]
# builds the body from the publication, under the settings. Raises ApiError or psycopg.Error.
BuildBody = Callable[[RequestContext, Publication, Mapping[str, str]], bytes]
# makes the body of the rows of each statement. Raises ApiError.
BodyOf = Callable[[Sequence[Rows], Publication], bytes]


@dataclass
class ResolvedRequest:
    """What a path and a query resolve to on one day.

    Attributes:
        path: as the request's log line has it.
        workspace_id: the path's.
        settings: of the request context, with the credential's workspace.
        response_fields: fields that the response repeats from the request.
        build_body: runs the statements in a thread, and makes the body.
        statements, body_of: the same in two steps.
    """

    endpoint: Endpoint
    path: str
    workspace_id: str
    settings: Mapping[str, str]
    response_fields: Mapping[str, Any]
    day: date
    # the last ETag, of its publication: together, because threads replace it at the same time
    etag: tuple[Publication, str]
    build_body: BuildBody
    statements: Sequence[str]
    body_of: BodyOf

    def settings_as_of(self, publication: Publication) -> Mapping[str, str]:
        """The settings for reading another publication."""
        return {**self.settings, AS_OF: str(publication.batch_id)}

    def etag_as_of(self, publication: Publication) -> str:
        """The ETag for a publication; the last one is kept. '' if the response changes without a publication."""
        if not self.endpoint.is_cached:
            return ""
        last_publication, etag = self.etag
        if last_publication is not publication:
            etag = entity_tag(publication, self.endpoint.name, self.settings_as_of(publication), self.response_fields)
            self.etag = (publication, etag)
        return etag


class LoopAnswer(NamedTuple):
    """An answer that the event loop made.

    Attributes:
        source: of the data: warehouse, cache, or client (304).
        body: None if the client's copy is current and the response is 304.
    """

    source: str
    body: bytes | None
    etag: str

    @property
    def status(self) -> int:
        """200 or 304."""
        return 304 if self.body is None else 200

    def headers(self) -> list[tuple[str, str]]:
        """The headers of `status` and `body`."""
        return _headers(self.body, self.etag)


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

    def find(self, target: Target, authorization: str) -> ResolvedRequest | None:
        """What a GET resolves to, if its credential needs no slow check and may see it; else None. Never waits.

        The request is not counted.
        """
        request = self._find(target)
        if request is None or not self._guard.is_known(authorization, request.workspace_id, SCOPE):
            return None
        # as in `respond`: the settings have the credential's workspace
        return request if request.workspace_id == request.settings[WORKSPACE_ID] else None

    def cached(self, request: ResolvedRequest, if_none_match: str | None, publication: Publication) -> LoopAnswer | None:
        """The answer if it needs no query; else None."""
        etag = request.etag_as_of(publication)
        answer = cached_answer(self._cache, etag, if_none_match if etag else None)
        return None if answer is None else LoopAnswer(answer.source, answer.body, etag)

    async def count(self, request: ResolvedRequest) -> AuthorizedRequest | None:
        """Counts a request that was found; None if it is over the limit, which `respond` refuses."""
        endpoint = request.endpoint
        quota = await self._guard.count_on_loop(request.workspace_id, endpoint.name, endpoint.limit)
        return AuthorizedRequest(request.workspace_id, quota) if quota.is_allowed else None

    async def compute(
        self,
        context: RequestContext,
        request: ResolvedRequest,
        if_none_match: str | None,
        publication: Publication,
        queries: LoopQueries,
    ) -> LoopAnswer | None:
        """The answer of a query; None if `respond` has to make it. The context gets the time of the query.

        Raises:
            ApiError: the answer is an error.
        """
        etag = request.etag_as_of(publication)
        started_at = time.perf_counter()
        try:
            rows = await queries.query(request.settings_as_of(publication), request.statements)
        finally:
            context.query_seconds = time.perf_counter() - started_at
        if rows is None:
            return None
        if sum(map(len, rows)) > MAX_ROWS_ON_LOOP:
            body = await asyncio.to_thread(request.body_of, rows, publication)
        else:
            body = request.body_of(rows, publication)
        return LoopAnswer("warehouse", store_body(self._cache, etag, if_none_match if etag else None, body), etag)

    def respond(
        self, environ: WSGIEnvironment, start_response: StartResponse, publication: Publication | None
    ) -> Iterable[bytes] | None:
        """The response; None if the request needs the slow path."""
        # only the slow path makes the headers for other origins
        if environ["REQUEST_METHOD"] != "GET" or publication is None or "HTTP_ORIGIN" in environ:
            return None
        request = self._find(_target(environ))
        if request is None:
            return None
        context = request_context_of(environ)
        context.endpoint = request.endpoint.name
        try:
            # the event loop may have authorized and counted it already
            authorized = context.authorized or self._guard.authorize(
                environ.get("HTTP_AUTHORIZATION"),
                request.workspace_id,
                SCOPE,
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
                environ.get("HTTP_IF_NONE_MATCH") if etag else None,
                lambda: request.build_body(context, publication, request.settings_as_of(publication)),
            )
        except ApiError as error:
            return error_response(error, context)(environ, start_response)
        except psycopg.Error:
            # the slow path has the handler for unexpected errors
            return None
        start_response("304 NOT MODIFIED" if body is None else "200 OK", _headers(body, etag))
        return () if body is None else (body,)

    def _find(self, target: Target) -> ResolvedRequest | None:
        with self._lock:
            request = self._requests.get(target)
        # time ranges change with the day
        return request if request is not None and request.day == datetime.now(UTC).date() else None


def _headers(body: bytes | None, etag: str) -> list[tuple[str, str]]:
    if body is None:
        return cache_headers(etag)
    return [JSON_CONTENT_TYPE, ("Content-Length", str(len(body))), *cache_headers(etag)]


def _target(environ: WSGIEnvironment) -> Target:
    # the path as the client sent it; of the test client of werkzeug, with the query
    return environ.get("REQUEST_URI") or environ["PATH_INFO"], environ.get("QUERY_STRING", "")
