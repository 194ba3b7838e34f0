"""Conditional GET (RFC 9110, 13.1.2) over the response cache: one flow for the routes and the fast path."""

from __future__ import annotations

from collections.abc import Callable

from werkzeug.datastructures import ETags
from werkzeug.http import parse_etags

from api.analytics.cache import ResponseCache
from api.web.request_context import RequestContext

NO_ETAGS = ETags()


def body_unless_current(
    context: RequestContext, cache: ResponseCache, etag: str, if_none_match: str | None, build_body: Callable[[], bytes]
) -> bytes | None:
    """The body to send; None if the client's copy is current and the response is 304. The context gets the source of the data.

    `etag` is quoted; if it is '', nothing is cached. `if_none_match` is the request's header; a copy named `*` is current if a
    body exists at all.

    Raises:
        ApiError, psycopg.Error: of `build_body`, which is called if the body is not cached.
    """
    client_etags = parse_etags(if_none_match.strip()) if if_none_match else NO_ETAGS
    if not client_etags.star_tag and client_etags.contains_weak(etag.strip('"')):
        context.source = "client"
        return None
    body = cache.get(etag) if etag else None
    context.source = "cache" if body else "warehouse"
    if body is None:
        body = build_body()
        if etag:
            cache.put(etag, body)
    return None if client_etags.star_tag else body
