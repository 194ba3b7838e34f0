"""The short way to an answer that is already there: a GET seen before needs no routing, no parsing and no query.

Who asks, and how often, is checked as on the long way. What leads nowhere goes on there, and is not counted again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from api.admission import Admission
from api.answers import Answers, entity_tag, is_known
from api.contract import Endpoint
from api.errors import ApiError
from api.publication import Publication
from api.record import record_of
from api.responses import JSON, error_response, versioned_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MOST_KNOWN = 20_000
LONGEST_KNOWN = 1024

Target = tuple[str, str]


@dataclass
class _Known:
    """What a path and a query come to on a day; the tag is of the publication beside it."""

    endpoint: Endpoint
    workspace_id: str
    context: Mapping[str, str]
    day: date
    tagged: tuple[Publication, str]


class Express:
    """The requests seen since the contract changed. One for each app."""

    def __init__(self, admission: Admission, answers: Answers) -> None:
        self._admission = admission
        self._answers = answers
        self._known: OrderedDict[Target, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def remember(
        self,
        environ: WSGIEnvironment,
        endpoint: Endpoint,
        workspace_id: str,
        context: Mapping[str, str],
        day: date,
        tagged: tuple[Publication, str],
    ) -> None:
        """Keeps what a request to the path of `workspace_id` came to."""
        target = _target(environ)
        if len(target[0]) + len(target[1]) > LONGEST_KNOWN:
            return
        with self._lock:
            self._known[target] = _Known(endpoint, workspace_id, context, day, tagged)
            self._known.move_to_end(target)
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)

    def answer(
        self, environ: WSGIEnvironment, start_response: StartResponse, publication: Publication | None
    ) -> Iterable[bytes] | None:
        """The answer; None where there is none yet."""
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
            admitted = self._admission.admit(
                environ.get("HTTP_AUTHORIZATION"), known.workspace_id, "read", known.endpoint.name, known.endpoint.limit
            )
        except ApiError as error:
            return error_response(error, record)(environ, start_response)
        record.admitted = admitted
        # the first wall has fallen: the credential's own rows are not these
        if admitted.workspace_id != known.context["mailmart.workspace_id"]:
            return None
        tag = self._tag(known, publication)
        if is_known(environ.get("HTTP_IF_NONE_MATCH"), tag):
            record.source = "client"
            start_response("304 NOT MODIFIED", versioned_headers(tag))
            return ()
        body = self._answers.get(tag)
        if body is None:
            return None
        record.source = "cache"
        start_response("200 OK", [JSON, ("Content-Length", str(len(body))), *versioned_headers(tag)])
        return (body,)

    @staticmethod
    def _tag(known: _Known, publication: Publication) -> str:
        of, tag = known.tagged
        if of is not publication:
            context = {**known.context, "mailmart.as_of": str(publication.batch_id)}
            tag = entity_tag(publication, known.endpoint, context)
            known.tagged = (publication, tag)
        return tag


def _target(environ: WSGIEnvironment) -> Target:
    return environ["PATH_INFO"], environ.get("QUERY_STRING", "")
