"""The envelopes of all answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from flask import Response

from api.errors import ApiError


def data_response(data: dict[str, Any], data_as_of: datetime) -> Response:
    """200: `{"success": true, "data": …, "meta": {"data_as_of": …}}`."""
    body = {"success": True, "data": data, "meta": {"data_as_of": data_as_of}}
    response = _json(body, 200)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def error_response(error: ApiError) -> Response:
    """`{"success": false, "error": {"code", "message", "details"?}}`."""
    problem: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details:
        problem["details"] = error.details
    response = _json({"success": False, "error": problem}, error.status)
    response.headers["Cache-Control"] = "no-store"
    response.headers.update(error.headers)
    return response


def _json(body: dict[str, Any], status: int) -> Response:
    text = orjson.dumps(body, option=orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS)
    return Response(text, status, mimetype="application/json")


def status_response(body: dict[str, Any]) -> Response:
    """200 for those who look after the process."""
    response = _json(body, 200)
    response.headers["Cache-Control"] = "no-store"
    return response
