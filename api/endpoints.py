"""Makes the contract's endpoints into routes. None of them has code of its own."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, NoReturn

import psycopg
from flask import Response, request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from api.admission import Admission
from api.answers import Answers, entity_tag, is_any, is_known
from api.contract import Endpoint, Section
from api.errors import (
    ContentTooLarge,
    Forbidden,
    MalformedRequest,
    NotFound,
    UnsupportedMediaType,
    ValidationFailed,
    WarehouseUnavailable,
)
from api.express import Express
from api.parameters import PARAMETERS, PATH_PARAMETERS, UNKNOWN_ZONE
from api.publication import Publication, Publications
from api.record import Record, record_of
from api.responses import data_body, data_response, not_modified
from api.schemas import ErrorResponse, path_schema, request_schema, response_schema
from api.warehouse import Warehouse

PREFIX = "/api/v1/workspaces/<string:workspaceId>"
NAME = "Analytics"
INVALID = "The request's parameters are not valid"
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


class AnalyticsBlueprint(Blueprint):  # type: ignore[misc]
    """A blueprint whose parameters are read strictly."""

    ARGUMENTS_PARSER = StrictParser()


@dataclass(frozen=True)
class Means:
    """What endpoints answer with; all apps of a process share it."""

    warehouse: Warehouse
    publications: Publications
    admission: Admission
    answers: Answers


def analytics_blueprint(endpoints: tuple[Endpoint, ...], means: Means, express: Express) -> Blueprint:
    """The routes of all endpoints, below the workspace."""
    by_route = {f"{NAME}.{endpoint.operation_id}": endpoint for endpoint in endpoints}
    blueprint = AnalyticsBlueprint(NAME, __name__, url_prefix=PREFIX, description="What became of the mail.")

    @blueprint.before_request  # type: ignore[untyped-decorator]
    def admit() -> None:
        # a browser asks what it may before it sends the credential
        if request.method == "OPTIONS":
            return
        endpoint = by_route[str(request.endpoint)]
        workspace_id = (request.view_args or {}).get("workspaceId", "")
        record = record_of(request.environ)
        record.endpoint = endpoint.name
        # counted already on the short way
        if record.admitted is None:
            record.admitted = means.admission.admit(request.headers.get("Authorization"), workspace_id, "read", endpoint)

    for endpoint in endpoints:
        _add(blueprint, endpoint, _reader(endpoint, means, express))
    return blueprint


def _add(blueprint: Blueprint, endpoint: Endpoint, read: Callable[..., Response]) -> None:
    def view(query: Mapping[str, Any], **path: str) -> Response:
        return read(query, path)

    view.__name__ = endpoint.operation_id
    schema = request_schema(endpoint)
    if endpoint.method == "post":
        # whole: made up out of the fields, it would have dates that go with another window
        fields = schema().fields
        example = {name: field.metadata["example"] for name, field in fields.items() if "example" in field.metadata}
        arguments = blueprint.arguments(schema, location="json", error_status_code=422, example=example)
    else:
        arguments = blueprint.arguments(schema, location="query", error_status_code=422)
    documented = arguments(view)
    headers = {**LIMIT_HEADERS, **(ETAG_HEADER if endpoint.is_cached and endpoint.method == "get" else {})}
    documented = blueprint.response(200, response_schema(endpoint), description="The numbers.", headers=headers)(documented)
    for status, description in {**ERRORS, **(ERRORS_OF_A_BODY if endpoint.method == "post" else {})}.items():
        documented = blueprint.alt_response(
            status, schema=ErrorResponse, description=description, headers=HEADERS_OF_ERRORS.get(status)
        )(documented)
    documented = blueprint.doc(operationId=endpoint.operation_id, summary=endpoint.label, description=endpoint.description)(
        documented
    )
    rule = "/" + "/".join(
        f"<string:{part[1:-1]}>" if part.startswith("{") else part for part in endpoint.path.strip("/").split("/")
    )
    parameters = [
        {"in": "path", "name": name, "required": True, "schema": {"type": "string"}, **described}
        for name, described in _described_path(endpoint).items()
    ]
    blueprint.route(rule, methods=[endpoint.method.upper()], endpoint=endpoint.operation_id, parameters=parameters)(documented)


def _described_path(endpoint: Endpoint) -> dict[str, dict[str, Any]]:
    return {
        name: {"description": field.metadata["description"], "example": field.metadata["example"]}
        for name, field in path_schema(endpoint)().fields.items()
    }


def _reader(endpoint: Endpoint, means: Means, express: Express) -> Callable[[Mapping[str, Any], Mapping[str, str]], Response]:
    statements = [_statement(section) for section in endpoint.sections]
    assemble = _assembler(endpoint)

    def read(query: Mapping[str, Any], path: Mapping[str, str]) -> Response:
        publication = means.publications.current()
        if publication is None:
            raise WarehouseUnavailable("Nothing is published yet; run `mailmart build`.", retry_after=60)
        record = record_of(request.environ)
        today = datetime.now(UTC).date()
        context, shown = _request_context(endpoint, query, path, today)
        context |= {"mailmart.workspace_id": _workspace_id(), "mailmart.as_of": str(publication.batch_id)}
        tag = entity_tag(publication, endpoint, context) if endpoint.is_cached else ""
        is_conditional = bool(tag) and endpoint.method == "get"
        given = request.headers.get("If-None-Match")
        if is_conditional and is_known(given, tag):
            record.source = "client"
            return not_modified(tag)
        body = means.answers.get(tag) if tag else None
        record.source = "cache" if body else "warehouse"
        if body is None:
            body = make(record, publication, context, tag, shown=shown, query=query, path=path)
        if is_conditional:
            make_again = partial(make, shown=shown, query=query, path=path)
            express.remember(request.environ, endpoint, path["workspaceId"], context, today, (publication, tag), make_again)
            if is_any(given):
                return not_modified(tag)
        return data_response(body, tag if is_conditional else "")

    def make(
        record: Record,
        publication: Publication,
        context: Mapping[str, str],
        tag: str,
        *,
        shown: dict[str, Any],
        query: Mapping[str, Any],
        path: Mapping[str, str],
    ) -> bytes:
        body = data_body(assemble(found_in(record, context, path), shown, query), publication.data_as_of)
        if tag:
            means.answers.put(tag, body)
        return body

    def found_in(record: Record, context: Mapping[str, str], path: Mapping[str, str]) -> list[list[tuple[Any, ...]]]:
        began = time.perf_counter()
        try:
            found = means.warehouse.read(context, statements)
        except psycopg.errors.InvalidParameterValue as error:
            # of the time zones PostgreSQL has a list of its own, which may be older than ours
            if "timezone" not in endpoint.parameters:
                raise
            raise ValidationFailed(INVALID, details={"timezone": [UNKNOWN_ZONE]}) from error
        finally:
            record.query_seconds = time.perf_counter() - began
        for section, rows in zip(endpoint.sections, found, strict=True):
            if section.unless_empty and rows:
                raise NotFound(section.unless_empty, id=rows[0][0], workspace=path["workspaceId"])
            if section.empty and not rows:
                raise _not_found(endpoint, path)
        return found

    return read


def _workspace_id() -> str:
    """The credential's: a path is what somebody writes."""
    admitted = record_of(request.environ).admitted
    if admitted is None:
        raise Forbidden("The request was not let in")
    return admitted.workspace_id


def _request_context(
    endpoint: Endpoint, query: Mapping[str, Any], path: Mapping[str, str], today: date
) -> tuple[dict[str, str], dict[str, Any]]:
    context: dict[str, str] = {}
    shown: dict[str, Any] = {}
    for name in endpoint.parameters:
        resolved = PARAMETERS[name].resolve(query, today)
        context |= resolved.settings
        shown |= resolved.shown
    for name in endpoint.path_parameters:
        # no id has a NUL, and no text of PostgreSQL's can hold one
        if "\0" in path[name] or not path[name]:
            raise _not_found(endpoint, path)
        context[PATH_PARAMETERS[name].setting] = path[name]
    return context, shown


def _not_found(endpoint: Endpoint, path: Mapping[str, str]) -> NotFound:
    code = next((section.empty for section in endpoint.sections if section.empty), "NOT_FOUND")
    named = next((path[name] for name in endpoint.path_parameters), "")
    return NotFound(code, id=named, workspace=path["workspaceId"])


def _statement(section: Section) -> str:
    columns = ", ".join(f'"{field.column}"' for field in section.fields)
    return f"select {columns} from {section.view}"  # noqa: S608 - names out of our own manifest


Shape = list[tuple[int, str, str]]
Assembler = Callable[[list[list[tuple[Any, ...]]], dict[str, Any], Mapping[str, Any]], dict[str, Any]]


def _assembler(endpoint: Endpoint) -> Assembler:
    """Puts the sections' rows to their places; which those are is worked out once."""

    def assemble(found: list[list[tuple[Any, ...]]], shown: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for section, rows in zip(endpoint.sections, found, strict=True):
            if section.unless_empty:
                continue
            shape = _shape(section, given)
            if not section.at:
                data |= _shaped(shape, rows[0]) if rows else {}
                continue
            *parents, last = section.at
            place = data
            for parent in parents:
                place = place.setdefault(parent, {})
            if section.is_list:
                place[last] = [_shaped(shape, row) for row in rows]
            elif rows:
                place[last] = {**place.get(last, {}), **_shaped(shape, rows[0])}
            elif section.is_nullable:
                place[last] = None
        # ids and names first, then what was asked for, then the numbers
        simple = {name: value for name, value in data.items() if not isinstance(value, dict | list)}
        return {**simple, **shown, **data}

    return assemble


def _shape(section: Section, given: Mapping[str, Any]) -> Shape:
    """Which columns the request shows, and where."""
    shape: Shape = []
    for index, field in enumerate(section.fields):
        parameter, value = field.when
        asked = given.get(parameter)
        if not parameter or (value in asked if isinstance(asked, list) else value == asked):
            shape.append((index, field.inside, field.name))
    return shape


def _shaped(shape: Shape, row: tuple[Any, ...]) -> dict[str, Any]:
    shaped: dict[str, Any] = {}
    for index, inside, name in shape:
        if inside:
            shaped.setdefault(inside, {})[name] = row[index]
        else:
            shaped[name] = row[index]
    return shaped
