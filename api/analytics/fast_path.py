"""The fast path: a request that was seen before skips routing and parsing, and the query too if its response is cached.

Credential and rate limit are checked as on the slow path, which is Flask. A request that the fast path cannot answer continues
there, and is not counted again.

It is answered on the event loop (`find`, `count`, `cached`, `compute`), or in a thread if something is not as it mostly is: the
credential was not checked within the last second, the database is unavailable, a statement fails. There `respond` answers a GET,
and Flask a POST.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, NamedTuple

import psycopg
from cachetools import LRUCache

from api.analytics.cache import ResponseCache
from api.analytics.conditional_get import body_unless_current, cached_answer, store_body
from api.auth.guard import AuthorizedRequest, RequestGuard
from api.contract.publication import Publication
from api.db.loop_queries import LoopQueries
from api.db.prepared_statements import Rows
from api.db.request_context import AS_OF, WORKSPACE_ID
from api.errors import ApiError
from api.web.request_context import RequestContext, request_context_of
from api.web.responses import JSON_CONTENT_TYPE, cache_headers, error_response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# of all requests together; see `_size_of`
MAX_SIZE = 20_000
MAX_URL_LENGTH = 1024
CHARACTERS_OF_A_UNIT = 4096
# of more values, the body is made in a thread: the loop would keep others waiting for milliseconds
MAX_VALUES_ON_LOOP = 10_000

# a longer one is mostly a long list of values, and would fill the memory
MAX_BODY_LENGTH = 4096

# of a credential
SCOPE = "read"


class Target(NamedTuple):
    """What makes two requests the same, as the client sent it. A GET has neither content type nor body."""

    method: str
    path: str
    query: str
    content_type: str = ""
    body: bytes = b""


# builds the body from the publication, under the settings. Raises ApiError or psycopg.Error.
BuildBody = Callable[[RequestContext, Publication, Mapping[str, str]], bytes]
# makes the body of the rows of each statement. Raises ApiError.
BodyOf = Callable[[Sequence[Rows], Publication], bytes]
TagOf = Callable[[Publication, Mapping[str, str]], str]


@dataclass
class ResolvedRequest:
    """What a path and its parameters resolve to on one day.

    Attributes:
        name, limit: of the endpoint.
        is_conditional: whether the response has an ETag, and the request may have If-None-Match.
        path: as the request's log line has it.
        workspace_id: the path's.
        settings: of the request context, with the credential's workspace.
        tag_of: the key of the cached response, for a publication and the settings of reading it; '' if it is never cached.
        build_body: runs the statements in a thread, and makes the body.
        statements, body_of: the same in two steps.
    """

    name: str
    limit: int
    is_conditional: bool
    path: str
    workspace_id: str
    settings: Mapping[str, str]
    tag_of: TagOf
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
        last_publication, etag = self.etag
        if last_publication is not publication:
            etag = self.tag_of(publication, self.settings_as_of(publication))
            self.etag = (publication, etag)
        return etag


class LoopAnswer(NamedTuple):
    """An answer that the event loop made.

    Attributes:
        source: of the data: warehouse, cache, or client (304).
        body: None if the client's copy is current and the response is 304.
        etag: '' if the response has none.
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
        self._requests: LRUCache[Target, ResolvedRequest] = LRUCache(MAX_SIZE, getsizeof=_size_of)
        self._lock = threading.Lock()

    def store(self, environ: WSGIEnvironment, request: ResolvedRequest, body: bytes = b"") -> None:
        """Remembers what the request with this environ and body resolves to."""
        target = _target(environ, body)
        if len(target.path) + len(target.query) + len(target.content_type) > MAX_URL_LENGTH or len(body) > MAX_BODY_LENGTH:
            return
        with self._lock:
            self._requests[target] = request

    def find(self, target: Target, authorization: str) -> ResolvedRequest | None:
        """What a request resolves to, if its credential needs no slow check and may see it; else None. Never waits.

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
        return None if answer is None else LoopAnswer(answer.source, answer.body, etag if request.is_conditional else "")

    async def count(self, request: ResolvedRequest) -> AuthorizedRequest | None:
        """Counts a request that was found; None if it is over the limit, which `respond` refuses."""
        quota = await self._guard.count_on_loop(request.workspace_id, request.name, request.limit)
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
        if _number_of_values(rows) > MAX_VALUES_ON_LOOP:
            body = await asyncio.to_thread(request.body_of, rows, publication)
        else:
            body = request.body_of(rows, publication)
        sent = store_body(self._cache, etag, if_none_match if etag else None, body)
        return LoopAnswer("warehouse", sent, etag if request.is_conditional else "")

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
        context.endpoint = request.name
        try:
            # the event loop may have authorized and counted it already
            authorized = context.authorized or self._guard.authorize(
                environ.get("HTTP_AUTHORIZATION"),
                request.workspace_id,
                SCOPE,
                request.name,
                request.limit,
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


def _target(environ: WSGIEnvironment, body: bytes = b"") -> Target:
    return Target(
        environ["REQUEST_METHOD"],
        # the path as the client sent it; of the test client of werkzeug, with the query
        environ.get("REQUEST_URI") or environ["PATH_INFO"],
        environ.get("QUERY_STRING", ""),
        environ.get("CONTENT_TYPE", "") if body else "",
        body,
    )


def _size_of(request: ResolvedRequest) -> int:
    """Of a long statement, a request takes as much memory as several others."""
    return 1 + sum(map(len, request.statements)) // CHARACTERS_OF_A_UNIT


def _number_of_values(rows: Sequence[Rows]) -> int:
    return sum(len(of_statement) * len(of_statement[0]) for of_statement in rows if of_statement)
