"""The envelopes of all answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from flask import Response

from api.errors import ApiError
from api.web.request_log import Record

JSON = ("Content-Type", "application/json")
# how times are written, in answers and in files
JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS


def data_body(data: dict[str, Any], data_as_of: datetime) -> bytes:
    """`{"success": true, "data": …, "meta": {"data_as_of": …}}`."""
    return _text({"success": True, "data": data, "meta": {"data_as_of": data_as_of}})


def resource_response(data: dict[str, Any] | list[Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`{"success": true, "data": …}` of something that is not of a batch: it changes by itself, and nobody keeps it."""
    response = _json({"success": True, "data": data}, status)
    response.headers.update({"Cache-Control": "no-store", **(headers or {})})
    return response


def empty_response() -> Response:
    """204: done, and there is nothing to say."""
    response = Response(status=204)
    response.headers["Cache-Control"] = "no-store"
    return response


def data_response(body: bytes, tag: str) -> Response:
    """200 with a body; with a tag, clients may keep it and ask whether it is still right."""
    return Response(body, 200, headers=[JSON, *versioned_headers(tag)])


def not_modified(tag: str) -> Response:
    """304: the client has what it asks for."""
    return Response(status=304, headers=versioned_headers(tag))


def versioned_headers(tag: str) -> list[tuple[str, str]]:
    """ETag and Cache-Control of an answer with data; without a tag, it is not to be kept."""
    return [("ETag", tag), ("Cache-Control", "private, no-cache")] if tag else [("Cache-Control", "no-store")]


def error_response(error: ApiError, record: Record) -> Response:
    """`{"success": false, "error": {"code", "message", "details"?}}`; the request's record gets the code."""
    record.code = error.code
    problem: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details:
        problem["details"] = error.details
    response = _json({"success": False, "error": problem}, error.status)
    response.headers["Cache-Control"] = "no-store"
    response.headers.update(error.headers)
    return response


def _json(body: dict[str, Any], status: int) -> Response:
    return Response(_text(body), status, mimetype="application/json")


def _text(body: dict[str, Any]) -> bytes:
    return orjson.dumps(body, option=JSON_OPTIONS)


def status_response(body: dict[str, Any]) -> Response:
    """200 for those who look after the process."""
    response = _json(body, 200)
    response.headers["Cache-Control"] = "no-store"
    return response
