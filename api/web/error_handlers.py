"""Turns every error of a Flask app into the API's error envelope."""

from __future__ import annotations

import logging

from flask import Flask, Response
from flask_smorest import Api
from werkzeug.exceptions import HTTPException

from api.errors import ApiError, NothingPublished
from api.web.request_context import current_request_context
from api.web.responses import error_response
from api.web.schemas import ErrorResponse

LOG = logging.getLogger(__name__)
CODE_BY_STATUS = {
    400: "MALFORMED_REQUEST",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "CONTENT_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
}


class EnvelopeApi(Api):  # type: ignore[misc]
    """flask-smorest with the API's envelope around every error."""

    ERROR_SCHEMA = ErrorResponse

    def handle_http_exception(self, error: HTTPException) -> Response:
        """The response to an error of werkzeug, with the error's own headers (a 405 keeps Allow)."""
        context = current_request_context()
        status = error.code or 500
        if status >= 500:
            LOG.error("request %s failed", context.request_id, exc_info=error)
        api_error = ApiError("No operation at this path" if status == 404 else error.description or error.name)
        api_error.status = status
        api_error.code = CODE_BY_STATUS.get(status, "INTERNAL_ERROR" if status >= 500 else "MALFORMED_REQUEST")
        api_error.headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
        return error_response(api_error, context)


def register_error_handlers(app: Flask, api: EnvelopeApi, *, is_published: bool) -> None:
    """Handles typed, HTTP and unexpected errors. As long as nothing is published, an unknown path is a 503, not a 404."""

    @app.errorhandler(ApiError)
    def handle_api_error(error: ApiError) -> Response:
        return error_response(error, current_request_context())

    @app.errorhandler(404)
    def handle_not_found(error: HTTPException) -> Response:
        if not is_published:
            return error_response(NothingPublished(), current_request_context())
        return api.handle_http_exception(error)

    @app.errorhandler(Exception)
    def handle_unexpected_error(error: Exception) -> Response:
        context = current_request_context()
        LOG.error("request %s failed", context.request_id, exc_info=error)
        return error_response(ApiError("Internal server error; report the request's X-Request-Id."), context)
