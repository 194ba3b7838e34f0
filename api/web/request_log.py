"""What is noted of a request while it is answered: for its log line, the metrics and the headers that every answer has."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from api.auth.guard import AuthorizedRequest
from api.observability.metrics import QUERY_SECONDS, count_request, count_response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ACCESS = logging.getLogger("mailmart.access")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
IN_ENVIRON = "mailmart.record"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# asked every few seconds by whoever looks after the process
UNNOTED = ("/healthz", "/readyz")


class Record:
    """One request.

    Attributes:
        request_id: the client's own, or one of ours.
        endpoint: '' where it came to none.
        code: of the error that it is answered with; '' without.
        query_seconds: in the warehouse; 0.0 without.
        source: where the data came from: warehouse, cache, client (304); '' where there are none.
        authorized: once it was let in, and counted.
    """

    __slots__ = ("_environ", "_started", "authorized", "code", "endpoint", "query_seconds", "request_id", "source", "status")

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._environ = environ
        self._started = time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID", "")
        self.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self.endpoint = ""
        self.code = ""
        self.query_seconds = 0.0
        self.source = ""
        self.status = 0
        self.authorized: AuthorizedRequest | None = None
        environ[IN_ENVIRON] = self

    def headers(self) -> list[tuple[str, str]]:
        """X-Request-Id, and the rate limit's."""
        own = [("X-Request-Id", self.request_id)]
        return own + self.authorized.quota.headers if self.authorized else own

    def end(self) -> None:
        """Counts it, and writes its line."""
        seconds = time.perf_counter() - self._started
        endpoint = self.endpoint or "none"
        method = self._environ["REQUEST_METHOD"]
        # what a client makes up is no label
        count_request(endpoint, method if method in METHODS else "other", self.status, seconds)
        if self.query_seconds:
            QUERY_SECONDS.labels(endpoint).observe(self.query_seconds)
        if self.source:
            count_response(self.source)
        if self._environ["PATH_INFO"] in UNNOTED and self.status < 400:
            return
        if ACCESS.isEnabledFor(logging.INFO):
            ACCESS.info("%s %s %s", method, self._environ["PATH_INFO"], self.status, extra={"fields": self._fields(seconds)})

    def failure(self) -> dict[str, Any] | None:
        """What telemetry may know of a request that we failed at; None of any other, and of a probe, which repeats itself."""
        if 0 < self.status < 500 or self._environ["PATH_INFO"] in UNNOTED:
            return None
        method = self._environ["REQUEST_METHOD"]
        return {
            "endpoint": self.endpoint or "none",
            "code": self.code or "INTERNAL_ERROR",
            "method": method if method in METHODS else "other",
            "status": self.status or 500,
        }

    def _fields(self, seconds: float) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "method": self._environ["REQUEST_METHOD"],
            "path": self._environ["PATH_INFO"],
            "status": self.status,
            "endpoint": self.endpoint,
            "workspace_id": self.authorized.workspace_id if self.authorized else "",
            "source": self.source,
            "seconds": round(seconds, 6),
            "query_seconds": round(self.query_seconds, 6),
        }


def record_of(environ: WSGIEnvironment) -> Record:
    """The record of the request that is being answered."""
    record: Record = environ[IN_ENVIRON]
    return record
