"""What all operations below a workspace have in common: who may ask and how often, strict parameters, documented errors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import marshmallow as ma
from flask import Response, request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from api.auth.guard import RequestGuard
from api.errors import INVALID, ContentTooLarge, Forbidden, MalformedRequest, UnsupportedMediaType, ValidationFailed
from api.web.request_log import record_of
from api.web.schemas import ErrorResponse

PREFIX = "/api/v1/workspaces/<string:workspaceId>"
ERRORS = {
    400: "The window is none, or the body is not JSON.",
    401: "No credential, or none that counts.",
    403: "The credential is for another workspace, or lacks the scope.",
    404: "Not in this workspace.",
    422: "A parameter is not what it has to be.",
    429: "The workspace asked too often in a minute.",
    500: "An error of the service's.",
    503: "The data are away for the moment.",
}


def _number(description: str, example: int) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "integer"}, "example": example}


LIMIT_HEADERS = {
    "RateLimit-Limit": _number("Requests that the workspace has in any minute.", 100),
    "RateLimit-Remaining": _number("How many of them are left now.", 99),
    "RateLimit-Reset": _number("Seconds until the oldest that counts is a minute old.", 60),
}
ETAG_HEADER = {
    "ETag": {
        "description": "Names this answer: sent as If-None-Match, a 304 says that nothing has changed since.",
        "schema": {"type": "string"},
        "example": '"0f5a0c1e7b9d4e6f8a2b3c4d5e6f7a8b"',
    }
}
RETRY_AFTER = {"Retry-After": _number("Seconds until it makes sense to ask again.", 5)}
WORKSPACE = {"name": "workspaceId", "description": "Workspace identifier", "example": "ws_xyz789"}
HEADERS_OF_ERRORS = {429: {**LIMIT_HEADERS, **RETRY_AFTER}, 503: RETRY_AFTER}
ERRORS_OF_A_BODY = {413: "The body is too large.", 415: "The body is not application/json."}


class StrictParser(FlaskParser):
    """Refuses parameters that are unknown or given twice, where webargs passes over the one and takes the first of the other."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": "raise"}  # noqa: RUF012

    def load_querystring(self, req: Any, schema: Any) -> Any:
        repeated = [name for name, values in req.args.lists() if len(values) > 1]
        if repeated:
            raise ValidationFailed(INVALID, details={name: ["Given more than once."] for name in repeated})
        return super().load_querystring(req, schema)

    def load_json(self, req: Any, schema: Any) -> Any:
        if req.mimetype != "application/json":
            raise UnsupportedMediaType
        text = _text_of(req)
        try:
            body = json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_number)
        except json.JSONDecodeError as error:
            raise MalformedRequest(f"{error.msg}: line {error.lineno}, column {error.colno}.") from error
        except (ValueError, RecursionError) as error:
            raise MalformedRequest("It is no JSON text.") from error
        if not isinstance(body, dict):
            raise ValidationFailed(INVALID, details={"body": ["Must be an object."]})
        return body

    def handle_error(self, error: Any, *args: Any, **kwargs: Any) -> NoReturn:
        by_location: dict[str, dict[str, Any]] = error.normalized_messages()
        raise ValidationFailed(
            INVALID, details={name: list(_said(what)) for part in by_location.values() for name, what in part.items()}
        )


def _said(what: Any) -> Iterator[str]:
    """marshmallow's messages of a field: a list of texts, or of a list's elements by their places."""
    if isinstance(what, Mapping):
        for place, messages in what.items():
            yield from (f"{place}: {message}" for message in _said(messages))
    else:
        yield from what


def _text_of(req: Any) -> bytes:
    """The body, which may come in chunks: then nobody says beforehand how long it is.

    Raises:
        ContentTooLarge: it is longer than we take.
    """
    try:
        text: bytes = req.get_data(cache=False)
        # what is read of chunks ends at the limit without a word; one more tells
        if req.content_length is None:
            req.stream.read(1)
    except RequestEntityTooLarge as error:
        raise ContentTooLarge(req.max_content_length) from error
    return text


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, _ in pairs:
        # fails for half of a surrogate pair, which no answer could repeat
        name.encode()
    repeated = {name for name, count in Counter(name for name, _ in pairs).items() if count > 1}
    if repeated:
        raise ValidationFailed(INVALID, details={name: ["Given more than once."] for name in repeated})
    return dict(pairs)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


class StrictBlueprint(Blueprint):  # type: ignore[misc]
    """A blueprint whose parameters are read strictly."""

    ARGUMENTS_PARSER = StrictParser()


@dataclass(frozen=True)
class Operation:
    """One operation of the API.

    Attributes:
        name: what its limit, its metrics and its log lines are kept under.
        path: below the workspace's.
        path_parameters: name, description and example of each but the workspace.
        limit: requests a minute of a workspace.
        scope: what a credential needs.
        arguments: the schema of its query or its body; None where it takes none.
        example: a whole body; without it, it is made up out of the fields' examples.
        answers: what it answers with, by status: the schema (None: no body), what it is, and its headers beside the limit's.
        headers: parameters that are headers, as OpenAPI has them.
    """

    operation_id: str
    name: str
    label: str
    description: str
    method: str
    path: str
    limit: int
    answers: Mapping[int, Answer]
    scope: str = "read"
    arguments: type[ma.Schema] | None = None
    example: Mapping[str, Any] | None = None
    path_parameters: tuple[Mapping[str, str], ...] = ()
    headers: tuple[Mapping[str, Any], ...] = ()

    @property
    def has_body(self) -> bool:
        """Whether its arguments are a JSON body."""
        return self.method in ("post", "patch")


@dataclass(frozen=True)
class Answer:
    """An answer with data, as the document has it."""

    schema: type[ma.Schema] | None
    description: str
    headers: Mapping[str, Any] = field(default_factory=dict)


def operations_blueprint(
    name: str, description: str, operations: Iterable[tuple[Operation, Callable[..., Response]]], guard: RequestGuard
) -> Blueprint:
    """The routes of operations below the workspace. Each is called with its arguments, if it takes any, and its path's parts.

    Who asks is let in, and counted, before anything of the request is read.
    """
    blueprint = StrictBlueprint(name, __name__, url_prefix=PREFIX, description=description)
    by_route: dict[str, Operation] = {}
    for operation, view in operations:
        by_route[f"{name}.{operation.operation_id}"] = operation
        _add(blueprint, operation, view)

    @blueprint.before_request  # type: ignore[untyped-decorator]
    def admit() -> None:
        # a browser asks what it may before it sends the credential
        if request.method == "OPTIONS":
            return
        operation = by_route[str(request.endpoint)]
        workspace_id = (request.view_args or {}).get("workspaceId", "")
        record = record_of(request.environ)
        record.endpoint = operation.name
        # counted already on the short way
        if record.authorized is None:
            record.authorized = guard.authorize(
                request.headers.get("Authorization"), workspace_id, operation.scope, operation.name, operation.limit
            )

    return blueprint


def authorized_workspace() -> str:
    """The credential's: a path is what somebody writes."""
    authorized = record_of(request.environ).authorized
    if authorized is None:
        raise Forbidden("The request was not let in")
    return authorized.workspace_id


def _add(blueprint: Blueprint, operation: Operation, answer: Callable[..., Response]) -> None:
    def view(*arguments: Any, **path: str) -> Response:
        return answer(*arguments, path)

    view.__name__ = operation.operation_id
    documented: Callable[..., Response] = view
    if operation.arguments is not None:
        example = {}
        if operation.has_body:
            # whole: made up out of the fields, it would have dates that go with another window
            fields = operation.arguments().fields
            made_up = {name: field.metadata["example"] for name, field in fields.items() if "example" in field.metadata}
            example = dict(operation.example or made_up)
        documented = blueprint.arguments(
            operation.arguments,
            location="json" if operation.has_body else "query",
            error_status_code=422,
            **({"example": example} if example else {}),
        )(documented)
    for number, (status, answered) in enumerate(operation.answers.items()):
        say = blueprint.alt_response if number else blueprint.response
        documented = say(
            status, schema=answered.schema, description=answered.description, headers={**LIMIT_HEADERS, **answered.headers}
        )(documented)
    for status, description in {**ERRORS, **(ERRORS_OF_A_BODY if operation.has_body else {})}.items():
        documented = blueprint.alt_response(
            status, schema=ErrorResponse, description=description, headers=HEADERS_OF_ERRORS.get(status)
        )(documented)
    documented = blueprint.doc(operationId=operation.operation_id, summary=operation.label, description=operation.description)(
        documented
    )
    rule = "/" + "/".join(
        f"<string:{part[1:-1]}>" if part.startswith("{") else part for part in operation.path.strip("/").split("/")
    )
    parameters = [
        *(
            {"in": "path", "required": True, "schema": {"type": "string"}, **part}
            for part in (WORKSPACE, *operation.path_parameters)
        ),
        *({"in": "header", **header} for header in operation.headers),
    ]
    blueprint.route(rule, methods=[operation.method.upper()], endpoint=operation.operation_id, parameters=parameters)(documented)
