"""The state of one HTTP request, from its first byte to its log line. (The settings of a database transaction are another thing:
`db.request_context`.)
"""

from __future__ import annotations

import random
import re
import time
from typing import TYPE_CHECKING

from flask import request

from api.auth.guard import AuthorizedRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
ENVIRON_KEY = "mailmart.request_context"


class RequestContext:
    """One request, kept in its WSGI environ.

    Attributes:
        method: GET, POST and so on.
        path: without the query.
        request_id: the client's own if it is well formed, else a new one.
        started_at: by the clock of `time.perf_counter`.
        endpoint: the operation's name; '' if none matches.
        status: of the response; 0 before it starts.
        error_code: of the error response; '' without an error.
        query_seconds: time in the database; 0.0 without a query.
        source: of the response's data: warehouse, cache or client (304); '' without data.
        authorized: set once the request is authorized and counted.
    """

    __slots__ = (
        "authorized",
        "endpoint",
        "error_code",
        "method",
        "path",
        "query_seconds",
        "request_id",
        "source",
        "started_at",
        "status",
    )

    def __init__(self, environ: WSGIEnvironment) -> None:
        self.started_at = time.perf_counter()
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = environ["PATH_INFO"]
        # an id is no secret: Python's generator, which each process seeds, needs no system call
        client_id = environ.get("HTTP_X_REQUEST_ID", "")
        self.request_id = client_id if REQUEST_ID.fullmatch(client_id) else f"{random.getrandbits(128):032x}"
        self.endpoint = ""
        self.status = 0
        self.error_code = ""
        self.query_seconds = 0.0
        self.source = ""
        self.authorized: AuthorizedRequest | None = None
        environ[ENVIRON_KEY] = self

    def headers(self) -> list[tuple[str, str]]:
        """X-Request-Id, and the rate limit's headers."""
        headers = [("X-Request-Id", self.request_id)]
        return headers + self.authorized.quota.headers if self.authorized else headers


def request_context_of(environ: WSGIEnvironment) -> RequestContext:
    """The context of the request with this environ."""
    context: RequestContext = environ[ENVIRON_KEY]
    return context


def current_request_context() -> RequestContext:
    """The context of the request that Flask is handling."""
    return request_context_of(request.environ)
