"""The envelopes and headers of all responses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from flask import Response

from api.errors import ApiError
from api.web.request_context import RequestContext

JSON_CONTENT_TYPE = ("Content-Type", "application/json")
# times in responses are whole seconds; files have all digits (api/exports/formats/base.py)
JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS


def data_body(data: Mapping[str, Any], data_as_of: datetime, **meta: Any) -> bytes:
    """`{"success": true, "data": …, "meta": {"data_as_of": …}}`, with further metadata."""
    return _dumps({"success": True, "data": data, "meta": {"data_as_of": data_as_of, **meta}})


def document_body(document: Mapping[str, Any]) -> bytes:
    """A document of another standard, which has no envelope."""
    return _dumps(document)


def data_response(body: bytes, etag: str) -> Response:
    """200 with data of a publication; without an ETag, it must not be cached."""
    return Response(body, 200, headers=[JSON_CONTENT_TYPE, *cache_headers(etag)])


def not_modified(etag: str) -> Response:
    """304: the client's copy is current."""
    return Response(status=304, headers=cache_headers(etag))


def cache_headers(etag: str) -> list[tuple[str, str]]:
    """ETag and Cache-Control: clients may keep the response and revalidate it; without an ETag, they must not keep it."""
    return [("ETag", etag), ("Cache-Control", "private, no-cache")] if etag else [("Cache-Control", "no-store")]


def resource_response(
    data: Mapping[str, Any] | list[Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`{"success": true, "data": …}` for a resource that changes independently of publications; not to be cached."""
    response = _json({"success": True, "data": data}, status)
    response.headers.update(headers or {})
    return response


def empty_response() -> Response:
    """204."""
    response = Response(status=204)
    response.headers["Cache-Control"] = "no-store"
    return response


def status_response(body: Mapping[str, Any]) -> Response:
    """200 for operators and health checks, without the envelope."""
    return _json(body, 200)


def error_response(error: ApiError, context: RequestContext) -> Response:
    """`{"success": false, "error": {"code", "message", "details"?}}`; the request's context gets the code."""
    context.error_code = error.code
    return Response(error_body(error), error.status, headers=error_headers(error))


def error_body(error: ApiError) -> bytes:
    """The body of `error_response`."""
    problem: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details:
        problem["details"] = error.details
    return _dumps({"success": False, "error": problem})


def error_headers(error: ApiError) -> list[tuple[str, str]]:
    """The headers of `error_response`."""
    return [JSON_CONTENT_TYPE, *cache_headers(""), *error.headers.items()]


def _json(body: Mapping[str, Any], status: int) -> Response:
    response = Response(_dumps(body), status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def _dumps(body: Mapping[str, Any]) -> bytes:
    return orjson.dumps(body, option=JSON_OPTIONS)
