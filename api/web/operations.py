"""Operations below a workspace: authorization and rate limit before anything else, strict parameters, documented errors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import marshmallow as ma
from flask import Response, request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from api.auth.guard import RequestGuard
from api.contract.suggestions import nearest
from api.errors import INVALID, ApiError, ContentTooLarge, Forbidden, MalformedRequest, UnsupportedMediaType, ValidationFailed
from api.web.error_examples import MAX_BODY_BYTES, error_examples
from api.web.paths import WORKSPACES
from api.web.request_context import current_request_context
from api.web.schemas import ErrorResponse
from api.web.validation_messages import flatten_messages

PREFIX = f"{WORKSPACES}/<string:workspaceId>"
ERRORS = {
    400: "Invalid time range or malformed JSON.",
    401: "Missing or invalid credentials.",
    403: "Not allowed for this workspace or scope.",
    404: "Not found in this workspace.",
    422: "Invalid parameters.",
    429: "Rate limit exceeded.",
    500: "Internal server error.",
    503: "Data temporarily unavailable.",
}
BODY_ERRORS = {408: "The body was not complete in time.", 413: "The body is too large.", 415: "The body is not application/json."}
REPEATED = "Must not be repeated."
# marshmallow's message
UNKNOWN = "Unknown field."


def _integer_header(description: str, example: int) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "integer"}, "example": example}


LIMIT_HEADERS = {
    "RateLimit-Limit": _integer_header("Requests that the workspace may send in any minute.", 100),
    "RateLimit-Remaining": _integer_header("Requests that remain now.", 99),
    "RateLimit-Reset": _integer_header("Seconds until another request becomes available.", 60),
}
ETAG_HEADER = {
    "ETag": {
        "description": "Version of this response. Send it as If-None-Match to get a 304 if nothing has changed.",
        "schema": {"type": "string"},
        "example": '"0f5a0c1e7b9d4e6f8a2b3c4d5e6f7a8b"',
    }
}
RETRY_AFTER = {"Retry-After": _integer_header("Seconds to wait before the next request.", 5)}
ERROR_HEADERS = {429: {**LIMIT_HEADERS, **RETRY_AFTER}, 503: RETRY_AFTER}
# the documentation page sends it, so the demo has it. One alone: between several, Swagger UI forgets what a user types
WORKSPACE = {"name": "workspaceId", "description": "Workspace identifier", "example": "ws_demo_1"}


@dataclass(frozen=True)
class ResponseSpec:
    """A successful response, as the OpenAPI document describes it. `headers` are in addition to those of the rate limit."""

    schema: type[ma.Schema] | None
    description: str
    headers: Mapping[str, Any] = field(default_factory=dict)
    # a whole body; without it, tools build one from the fields' examples
    example: Mapping[str, Any] | None = None
    # other content types that a client can ask for, and their schemas in OpenAPI's form
    more_content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One operation of the API.

    Attributes:
        name: its name in rate limits, metrics and log lines.
        path: below the workspace's path.
        path_parameters: name, description and example(s) of each, without the workspace.
        limit: requests a minute for each workspace.
        scope: the scope that a credential needs.
        arguments: the schema of the query or the body; None if there are no parameters.
        example: a whole body; without it, the example is built from the fields' examples.
        demo_fields: fields of the example that have other values in the demo.
        not_found: the codes of its 404.
        responses: the successful responses by status.
        errors: examples of errors that others do not have.
        headers: header parameters, in OpenAPI's form.
        max_body_bytes: a longer body is a 413.
    """

    operation_id: str
    name: str
    label: str
    description: str
    method: str
    path: str
    limit: int
    responses: Mapping[int, ResponseSpec]
    errors: tuple[ApiError, ...] = ()
    scope: str = "read"
    arguments: type[ma.Schema] | None = None
    example: Mapping[str, Any] | None = None
    demo_fields: Mapping[str, Any] = field(default_factory=dict)
    not_found: tuple[str, ...] = ()
    path_parameters: tuple[Mapping[str, Any], ...] = ()
    headers: tuple[Mapping[str, Any], ...] = ()
    max_body_bytes: int = MAX_BODY_BYTES

    @property
    def has_body(self) -> bool:
        """Whether the arguments are a JSON body."""
        return self.method in ("post", "patch")


class StrictParser(FlaskParser):
    """Rejects unknown and repeated parameters. (webargs ignores unknown ones and takes the first of repeated ones.)"""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": "raise"}  # noqa: RUF012

    def load_querystring(self, req: Any, schema: Any) -> Any:
        repeated = [name for name, values in req.args.lists() if len(values) > 1]
        if repeated:
            raise ValidationFailed(INVALID, details={name: [REPEATED] for name in repeated})
        return super().load_querystring(req, schema)

    def load_json(self, req: Any, schema: Any) -> Any:
        if req.mimetype != "application/json":
            raise UnsupportedMediaType
        text = _read_body(req)
        try:
            body = json.loads(text, object_pairs_hook=_unique_pairs, parse_constant=_reject_constant)
        except json.JSONDecodeError as error:
            raise MalformedRequest(f"{error.msg}: line {error.lineno}, column {error.colno}.") from error
        except (ValueError, RecursionError) as error:
            raise MalformedRequest("Must be valid JSON.") from error
        if not isinstance(body, dict):
            raise ValidationFailed(INVALID, details={"body": ["Must be an object."]})
        return body

    def handle_error(self, error: Any, req: Any, schema: ma.Schema, **kwargs: Any) -> NoReturn:
        by_location: dict[str, dict[str, Any]] = error.normalized_messages()
        details: dict[str, list[str]] = {}
        for messages in by_location.values():
            details |= _details(messages, schema)
        raise ValidationFailed(INVALID, details=details)


class StrictBlueprint(Blueprint):  # type: ignore[misc]
    """A blueprint with strict parameters."""

    ARGUMENTS_PARSER = StrictParser()


def operations_blueprint(
    name: str, description: str, operations: Iterable[tuple[Operation, Callable[..., Response]]], guard: RequestGuard
) -> Blueprint:
    """The routes of operations below the workspace; `name` and `description` are the tag in the OpenAPI document.

    Each view is called with its arguments, if it has any, and its path parameters. A request is authorized and counted before
    anything else of it is read.
    """
    blueprint = StrictBlueprint(name, __name__, url_prefix=PREFIX, description=description)
    by_route: dict[str, Operation] = {}
    for operation, view in operations:
        by_route[f"{name}.{operation.operation_id}"] = operation
        _add_route(blueprint, operation, view)

    @blueprint.before_request  # type: ignore[untyped-decorator]
    def authorize() -> None:
        # a browser's preflight request has no credential
        if request.method == "OPTIONS":
            return
        operation = by_route[str(request.endpoint)]
        workspace_id = (request.view_args or {}).get("workspaceId", "")
        context = current_request_context()
        context.endpoint = operation.name
        request.max_content_length = operation.max_body_bytes
        # the fast path may have authorized and counted it already
        if context.authorized is None:
            context.authorized = guard.authorize(
                request.headers.get("Authorization"),
                workspace_id,
                operation.scope,
                operation.name,
                operation.limit,
                address=request.remote_addr or "",
            )

    return blueprint


def load_arguments(operation: Operation, params: Mapping[str, Any]) -> dict[str, Any]:
    """An operation's arguments from parameters that do not come as a query or a body, checked as those are.

    Raises:
        ValidationFailed: one is invalid or unknown.
    """
    schema = (operation.arguments or ma.Schema)(unknown=ma.RAISE)
    try:
        loaded: dict[str, Any] = schema.load(params)
    except ma.ValidationError as error:
        messages: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
        raise ValidationFailed(INVALID, details=_details(messages, schema)) from error
    return loaded


def authorized_workspace() -> str:
    """The workspace of the request's credential, never that of its path.

    Raises:
        Forbidden: the request is not authorized.
    """
    authorized = current_request_context().authorized
    if authorized is None:
        raise Forbidden("The request is not authorized")
    return authorized.workspace_id


def _add_route(blueprint: Blueprint, operation: Operation, view: Callable[..., Response]) -> None:
    def route(*arguments: Any, **path: str) -> Response:
        return view(*arguments, path)

    route.__name__ = operation.operation_id
    documented: Callable[..., Response] = route
    if operation.arguments is not None:
        example = {}
        if operation.has_body:
            # one example of the whole body: Swagger UI's own would combine dates with a time range that has none
            fields = operation.arguments().fields
            from_fields = {name: field.metadata["example"] for name, field in fields.items() if "example" in field.metadata}
            example = dict(operation.example or from_fields)
        documented = blueprint.arguments(
            operation.arguments,
            location="json" if operation.has_body else "query",
            error_status_code=422,
            **({"examples": _body_examples(example, operation.demo_fields)} if example else {}),
        )(documented)
    for number, (status, spec) in enumerate(operation.responses.items()):
        headers = {**LIMIT_HEADERS, **spec.headers}
        # the last one comes first in the document
        for content_type, schema in spec.more_content.items():
            documented = blueprint.alt_response(
                status, schema=dict(schema), description=spec.description, content_type=content_type, headers=headers
            )(documented)
        add_response = blueprint.alt_response if number else blueprint.response
        documented = add_response(
            status,
            schema=spec.schema,
            description=spec.description,
            headers=headers,
            **({"example": spec.example} if spec.example is not None else {}),
        )(documented)
    rule = "/" + "/".join(
        f"<string:{part[1:-1]}>" if part.startswith("{") else part for part in operation.path.strip("/").split("/")
    )
    names = list(operation.arguments().fields) if operation.arguments is not None else []
    body_bytes = operation.max_body_bytes if operation.has_body else None
    examples = error_examples(names, operation.not_found, operation.limit, body_bytes, operation.errors)
    for status, description in {**ERRORS, **(BODY_ERRORS if operation.has_body else {})}.items():
        documented = blueprint.alt_response(
            status,
            schema=ErrorResponse,
            description=description,
            headers=ERROR_HEADERS.get(status),
            examples=examples[status],
        )(documented)
    documented = blueprint.doc(operationId=operation.operation_id, summary=operation.label, description=operation.description)(
        documented
    )
    parameters = [
        *(
            {"in": "path", "required": True, "schema": {"type": "string"}, **part}
            for part in (WORKSPACE, *operation.path_parameters)
        ),
        *({"in": "header", **header} for header in operation.headers),
    ]
    blueprint.route(rule, methods=[operation.method.upper()], endpoint=operation.operation_id, parameters=parameters)(documented)


def _body_examples(example: Mapping[str, Any], demo_fields: Mapping[str, Any]) -> dict[str, Any]:
    own = {"specification": {"value": dict(example)}}
    return {"demo": {"value": {**example, **demo_fields}}, **own} if demo_fields else own


def _details(messages: Mapping[str, Any], schema: ma.Schema) -> dict[str, list[str]]:
    """marshmallow's messages as an error has them."""
    return {name: list(flatten_messages(texts)) for name, texts in _with_suggestions(messages, schema).items()}


def _with_suggestions(messages: Mapping[str, Any], schema: ma.Schema) -> dict[str, Any]:
    """marshmallow's messages by field; that of an unknown field names the known one that it may mean."""
    result: dict[str, Any] = {}
    for name, message in messages.items():
        inner = schema.fields.get(name)
        if isinstance(inner, ma.fields.Nested) and isinstance(message, Mapping):
            result[name] = _with_suggestions(message, inner.schema)
        elif inner is None and message == [UNKNOWN]:
            result[name] = [f"{UNKNOWN} {_known_fields(name, schema)}"]
        else:
            result[name] = message
    return result


def _known_fields(name: str, schema: ma.Schema) -> str:
    match = nearest(name, schema.fields)
    if match is not None:
        return f"Did you mean {match}?"
    return f"Known: {', '.join(schema.fields)}." if schema.fields else "This operation has none."


def _read_body(req: Any) -> bytes:
    """The body; it may be sent in chunks, without a Content-Length.

    Raises:
        ContentTooLarge: it is longer than the limit.
    """
    try:
        text: bytes = req.get_data()
        # werkzeug cuts a chunked body off at the limit without an error; reading one more byte raises it
        if req.content_length is None:
            req.stream.read(1)
    except RequestEntityTooLarge as error:
        raise ContentTooLarge(req.max_content_length) from error
    return text


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, _ in pairs:
        # raises ValueError for half of a surrogate pair, which no response could contain
        name.encode()
    repeated = {name for name, count in Counter(name for name, _ in pairs).items() if count > 1}
    if repeated:
        raise ValidationFailed(INVALID, details={name: [REPEATED] for name in repeated})
    return dict(pairs)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
