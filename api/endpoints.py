"""Makes the contract's endpoints into routes. None of them has code of its own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from flask import Response, g, request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from api.auth import authenticate
from api.contract import Endpoint, Section
from api.errors import NotFound, ValidationFailed, WarehouseUnavailable
from api.keys import Keys
from api.parameters import PARAMETERS, PATH_PARAMETERS
from api.publication import Publication, Publications
from api.responses import data_response
from api.schemas import ErrorResponse, path_schema, request_schema, response_schema
from api.warehouse import Warehouse

PREFIX = "/api/v1/workspaces/<string:workspaceId>"
INVALID = "The request's parameters are not valid"
ERRORS = {
    400: "The window is none, or the body is not JSON.",
    401: "No API key, or none that counts.",
    403: "The key is for another workspace, or lacks the scope.",
    404: "Not in this workspace.",
    422: "A parameter is not what it has to be.",
    500: "An error of the service's.",
    503: "The data are away for the moment.",
}


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
            raise UnsupportedMediaType("Send the body as application/json")
        try:
            body = json.loads(req.get_data(cache=False), object_pairs_hook=_once_each, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise BadRequest("The body is not JSON") from error
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


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    repeated = {name for name, count in Counter(name for name, _ in pairs).items() if count > 1}
    if repeated:
        raise ValidationFailed(INVALID, details={name: ["Given more than once."] for name in repeated})
    return dict(pairs)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


class AnalyticsBlueprint(Blueprint):  # type: ignore[misc]
    """A blueprint whose parameters are read strictly."""

    ARGUMENTS_PARSER = StrictParser()


def analytics_blueprint(
    endpoints: tuple[Endpoint, ...], warehouse: Warehouse, publications: Publications, keys: Keys
) -> Blueprint:
    """The routes of all endpoints, below the workspace."""
    blueprint = AnalyticsBlueprint("Analytics", __name__, url_prefix=PREFIX, description="What became of the mail.")

    @blueprint.before_request  # type: ignore[untyped-decorator]
    def check_credential() -> None:
        workspace_id = (request.view_args or {}).get("workspaceId", "")
        g.holder = authenticate(keys, request.headers.get("Authorization"), workspace_id, "read")

    for endpoint in endpoints:
        _add(blueprint, endpoint, _reader(endpoint, warehouse, publications))
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
    documented = blueprint.response(200, response_schema(endpoint), description="The numbers.")(documented)
    for status, description in {**ERRORS, **(ERRORS_OF_A_BODY if endpoint.method == "post" else {})}.items():
        documented = blueprint.alt_response(status, schema=ErrorResponse, description=description)(documented)
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


def _reader(
    endpoint: Endpoint, warehouse: Warehouse, publications: Publications
) -> Callable[[Mapping[str, Any], Mapping[str, str]], Response]:
    statements = [_statement(section) for section in endpoint.sections]
    assemble = _assembler(endpoint)

    def read(query: Mapping[str, Any], path: Mapping[str, str]) -> Response:
        publication = publications.current()
        if publication is None:
            raise WarehouseUnavailable("Nothing is published yet; run `mailmart build`.", retry_after=60)
        context, shown = _request_context(endpoint, query, path, publication)
        found = warehouse.read(context, statements)
        for section, rows in zip(endpoint.sections, found, strict=True):
            if section.unless_empty and rows:
                raise NotFound(section.unless_empty, id=rows[0][0], workspace=path["workspaceId"])
            if section.empty and not rows:
                raise _not_found(endpoint, path)
        return data_response(assemble(found, shown, query), publication.data_as_of)

    return read


def _request_context(
    endpoint: Endpoint, query: Mapping[str, Any], path: Mapping[str, str], publication: Publication
) -> tuple[dict[str, str], dict[str, Any]]:
    context = {"mailmart.workspace_id": g.holder.workspace_id, "mailmart.as_of": str(publication.batch_id)}
    shown: dict[str, Any] = {}
    today = datetime.now(UTC).date()
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
