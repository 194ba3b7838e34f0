"""The short way: a GET seen before needs no routing and no parsing, and no query where its answer is kept.

Who asks, and how often, is checked as on the long way. What leads nowhere goes on there, and is not counted again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Protocol

import psycopg

from api.analytics.cache import ResponseCache, entity_tag, is_any, is_known
from api.auth.guard import RequestGuard
from api.contract.exposures import Endpoint
from api.contract.publication import Publication
from api.errors import ApiError
from api.web.request_log import Record, record_of
from api.web.responses import JSON, error_response, versioned_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MAX_KNOWN = 20_000
MAX_URL_LENGTH = 1024

Target = tuple[str, str]


class Make(Protocol):
    """Makes a body, and keeps it under the tag.

    Raises:
        ApiError: there is none.
    """

    def __call__(self, record: Record, publication: Publication, context: Mapping[str, str], tag: str, /) -> bytes: ...


@dataclass
class _Known:
    """What a path and a query come to on a day; the tag is of the publication beside it."""

    endpoint: Endpoint
    workspace_id: str
    context: Mapping[str, str]
    shown: Mapping[str, Any]
    day: date
    tagged: tuple[Publication, str]
    make: Make

    def context_of(self, publication: Publication) -> Mapping[str, str]:
        return {**self.context, "mailmart.as_of": str(publication.batch_id)}


class FastPath:
    """The requests seen since the contract changed. One for each app."""

    def __init__(self, guard: RequestGuard, answers: ResponseCache) -> None:
        self._guard = guard
        self._answers = answers
        self._known: OrderedDict[Target, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def store(
        self,
        environ: WSGIEnvironment,
        endpoint: Endpoint,
        workspace_id: str,
        context: Mapping[str, str],
        shown: Mapping[str, Any],
        day: date,
        tagged: tuple[Publication, str],
        make: Make,
    ) -> None:
        """Keeps what a request to the path of `workspace_id` came to."""
        target = _target(environ)
        if len(target[0]) + len(target[1]) > MAX_URL_LENGTH:
            return
        with self._lock:
            self._known[target] = _Known(endpoint, workspace_id, context, shown, day, tagged, make)
            self._known.move_to_end(target)
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)

    def answer(
        self, environ: WSGIEnvironment, start_response: StartResponse, publication: Publication | None
    ) -> Iterable[bytes] | None:
        """The answer; None where only the long way leads to one."""
        # another site's page gets headers that the long way makes
        if environ["REQUEST_METHOD"] != "GET" or publication is None or "HTTP_ORIGIN" in environ:
            return None
        known = self._known.get(_target(environ))
        # a window is of a day
        if known is None or known.day != datetime.now(UTC).date():
            return None
        record = record_of(environ)
        record.endpoint = known.endpoint.name
        try:
            authorized = self._guard.authorize(
                environ.get("HTTP_AUTHORIZATION"), known.workspace_id, "read", known.endpoint.name, known.endpoint.limit
            )
        except ApiError as error:
            return error_response(error, record)(environ, start_response)
        record.authorized = authorized
        # the first wall has fallen: the credential's own rows are not these
        if authorized.workspace_id != known.context["mailmart.workspace_id"]:
            return None
        tag = self._tag(known, publication)
        given = environ.get("HTTP_IF_NONE_MATCH")
        if is_known(given, tag):
            record.source = "client"
            return _not_modified(tag, start_response)
        body = self._answers.get(tag)
        record.source = "cache" if body else "warehouse"
        if body is None:
            try:
                body = known.make(record, publication, known.context_of(publication), tag)
            except ApiError as error:
                return error_response(error, record)(environ, start_response)
            except psycopg.Error:
                # nothing that a client should see: the long way knows what to say, and to whom
                return None
        if is_any(given):
            return _not_modified(tag, start_response)
        start_response("200 OK", [JSON, ("Content-Length", str(len(body))), *versioned_headers(tag)])
        return (body,)

    @staticmethod
    def _tag(known: _Known, publication: Publication) -> str:
        of, tag = known.tagged
        if of is not publication:
            tag = entity_tag(publication, known.endpoint, known.context_of(publication), known.shown)
            known.tagged = (publication, tag)
        return tag


def _not_modified(tag: str, start_response: StartResponse) -> Iterable[bytes]:
    start_response("304 NOT MODIFIED", versioned_headers(tag))
    return ()


def _target(environ: WSGIEnvironment) -> Target:
    return environ["PATH_INFO"], environ.get("QUERY_STRING", "")
