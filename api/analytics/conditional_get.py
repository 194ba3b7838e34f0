"""Conditional GET (RFC 9110, 13.1.2) over the response cache: one flow for the routes and the fast path."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from werkzeug.http import parse_etags

from api.analytics.cache import ResponseCache
from api.web.request_context import RequestContext


class CachedAnswer(NamedTuple):
    """An answer that needs no query.

    Attributes:
        source: of the data: cache, or client (304).
        body: None if the client's copy is current and the response is 304.
    """

    source: str
    body: bytes | None


def cached_answer(cache: ResponseCache, etag: str, if_none_match: str | None) -> CachedAnswer | None:
    """The answer if no query is needed; else None. The parameters are those of `body_unless_current`."""
    is_any_current = False
    if if_none_match:
        # most clients send back what they got
        if if_none_match == etag:
            return CachedAnswer("client", None)
        client_etags = parse_etags(if_none_match.strip())
        is_any_current = client_etags.star_tag
        if not is_any_current and client_etags.contains_weak(etag.strip('"')):
            return CachedAnswer("client", None)
    body = cache.get(etag) if etag else None
    if body is None:
        return None
    return CachedAnswer("cache", None if is_any_current else body)


def body_unless_current(
    context: RequestContext, cache: ResponseCache, etag: str, if_none_match: str | None, build_body: Callable[[], bytes]
) -> bytes | None:
    """The body to send; None if the client's copy is current and the response is 304. The context gets the source of the data.

    `etag` is quoted; if it is '', nothing is cached. `if_none_match` is the request's header; a copy named `*` is current if a
    body exists at all.

    Raises:
        ApiError, psycopg.Error: of `build_body`, which is called if the body is not cached.
    """
    answer = cached_answer(cache, etag, if_none_match)
    if answer is not None:
        context.source = answer.source
        return answer.body
    context.source = "warehouse"
    return store_body(cache, etag, if_none_match, build_body())


def store_body(cache: ResponseCache, etag: str, if_none_match: str | None, body: bytes) -> bytes | None:
    """Caches a new body, and returns the response. The parameters are those of `body_unless_current`."""
    if etag:
        cache.put(etag, body)
    return None if if_none_match and parse_etags(if_none_match.strip()).star_tag else body
