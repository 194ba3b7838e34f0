"""What is written when a request ends: its log line, its metrics, and what telemetry may know of a failure."""

from __future__ import annotations

import logging
import time
from typing import Any

from api.observability.metrics import count_request, count_response, observe_query
from api.web.request_context import RequestContext

ACCESS_LOG = logging.getLogger("mailmart.access")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# health checks repeat every few seconds: only their failures are logged
HEALTH_PATHS = ("/healthz", "/readyz")


def log_request(context: RequestContext) -> None:
    """Counts a request that has ended, and writes its log line."""
    seconds = time.perf_counter() - context.started_at
    endpoint = context.endpoint or "none"
    count_request(endpoint, _method_label(context), context.status, seconds)
    if context.query_seconds:
        observe_query(endpoint, context.query_seconds)
    if context.source:
        count_response(context.source)
    if context.path in HEALTH_PATHS and context.status < 400:
        return
    if ACCESS_LOG.isEnabledFor(logging.INFO):
        fields = _log_fields(context, seconds)
        ACCESS_LOG.info("%s %s %s", context.method, context.path, context.status, extra={"fields": fields})


def server_error_properties(context: RequestContext) -> dict[str, Any] | None:
    """What telemetry may know of a server error; None if the request succeeded, or is a health check."""
    if 0 < context.status < 500 or context.path in HEALTH_PATHS:
        return None
    return {
        "endpoint": context.endpoint or "none",
        "code": context.error_code or "INTERNAL_ERROR",
        "method": _method_label(context),
        "status": context.status or 500,
    }


def _method_label(context: RequestContext) -> str:
    # a client can send any method: that must not become a label
    return context.method if context.method in METHODS else "other"


def _log_fields(context: RequestContext, seconds: float) -> dict[str, Any]:
    return {
        "request_id": context.request_id,
        "method": context.method,
        "path": context.path,
        "status": context.status,
        "endpoint": context.endpoint,
        "workspace_id": context.authorized.workspace_id if context.authorized else "",
        "source": context.source,
        "seconds": round(seconds, 6),
        "query_seconds": round(context.query_seconds, 6),
    }
