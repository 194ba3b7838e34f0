"""marshmallow schemas out of the contract: they document, and check responses in tests. Rows do not pass through them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import marshmallow as ma

from api.contract import Endpoint, Field, Section
from api.parameters import PARAMETERS, PATH_PARAMETERS

CODES = (
    "MALFORMED_REQUEST",
    "INVALID_TIME_RANGE",
    "UNAUTHORIZED",
    "FORBIDDEN",
    "CAMPAIGN_NOT_FOUND",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "CONTENT_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE",
    "VALIDATION_ERROR",
    "INTERNAL_ERROR",
    "WAREHOUSE_UNAVAILABLE",
    "QUERY_TIMEOUT",
)


class OpenSchema(ma.Schema):
    """An object that may get more fields: clients ignore what they do not know."""

    class Meta:
        unknown = ma.EXCLUDE


class Meta(OpenSchema):
    """What is said about the data."""

    data_as_of = ma.fields.DateTime(
        required=True,
        metadata={"description": "What had landed by then is in the numbers.", "example": "2025-11-26T02:00:00Z"},
    )


class Problem(OpenSchema):
    """What went wrong."""

    code = ma.fields.String(
        required=True,
        validate=ma.validate.OneOf(CODES),
        metadata={
            "description": "What went wrong, for programs.",
            "example": "VALIDATION_ERROR",
            "x-enum-name": "ErrorCode",
        },
    )
    message = ma.fields.String(
        required=True,
        metadata={"description": "What went wrong, for people.", "example": "The request's parameters are not valid"},
    )
    details = ma.fields.Dict(
        keys=ma.fields.String(),
        values=ma.fields.List(ma.fields.String()),
        metadata={
            "description": "What is wrong with each parameter, by its name.",
            "example": {"timeRange": ["Must be one of: 7d, 30d, 90d, custom."]},
        },
    )


class ErrorResponse(OpenSchema):
    """An answer without data."""

    success = ma.fields.Boolean(
        required=True,
        validate=ma.validate.Equal(False),
        metadata={"description": "false: there is no data.", "x-constant": False, "example": False},
    )
    error = ma.fields.Nested(Problem, required=True)


def query_schema(endpoint: Endpoint) -> type[ma.Schema]:
    """The schema of an endpoint's query: what is not in it is refused."""
    fields: dict[str, Any] = {}
    for name, choices in endpoint.parameters.items():
        fields |= PARAMETERS[name].fields(choices)
    return _schema(f"{_pascal(endpoint.name)}Query", fields, strict=True)


def path_schema(endpoint: Endpoint) -> type[ma.Schema]:
    """The schema of an endpoint's path, with the workspace."""
    fields: dict[str, Any] = {
        "workspaceId": ma.fields.String(required=True, metadata={"description": "Workspace identifier", "example": "ws_xyz789"})
    }
    for name in endpoint.path_parameters:
        parameter = PATH_PARAMETERS[name]
        fields[name] = ma.fields.String(
            required=True, metadata={"description": parameter.description, "example": parameter.example}
        )
    return _schema(f"{_pascal(endpoint.name)}Path", fields, strict=True)


def response_schema(endpoint: Endpoint) -> type[ma.Schema]:
    """The schema of an endpoint's 200."""
    root: dict[str, Any] = {}
    for section in endpoint.sections:
        if not section.is_list and not section.at:
            root |= _row_fields(endpoint, section)
    for name in endpoint.parameters:
        root |= {key: ma.fields.Nested(schema, required=True) for key, schema in PARAMETERS[name].shows.items()}
    nested: dict[str, Any] = {}
    for section in endpoint.sections:
        if section.at:
            _put(nested, section.at, _section_field(endpoint, section))
    root |= _grown(endpoint, nested, ())
    data = _schema(f"{_pascal(endpoint.name)}Data", root)
    return _schema(
        f"{_pascal(endpoint.name)}Response",
        {
            "success": ma.fields.Boolean(
                required=True,
                validate=ma.validate.Equal(True),
                metadata={"description": "true: there is data.", "x-constant": True, "example": True},
            ),
            "data": ma.fields.Nested(data, required=True),
            "meta": ma.fields.Nested(Meta, required=True),
        },
    )


def _section_field(endpoint: Endpoint, section: Section) -> Any:
    name = section.schema_names.get(".") or f"{_pascal(endpoint.name)}{_pascal('_'.join(section.at))}"
    nested = _schema(name, _row_fields(endpoint, section))
    if section.is_list:
        return ma.fields.List(ma.fields.Nested(nested), required=True)
    return ma.fields.Nested(nested, required=True)


def _row_fields(endpoint: Endpoint, section: Section) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    inside: dict[str, list[Field]] = {}
    for field in section.fields:
        if field.inside:
            inside.setdefault(field.inside, []).append(field)
        else:
            fields[field.name] = _ma_field(field)
    for name, members in inside.items():
        schema_name = section.schema_names.get(name) or f"{_pascal(endpoint.name)}{_pascal(name)}"
        fields[name] = ma.fields.Nested(
            _schema(schema_name, {member.name: _ma_field(member) for member in members}), required=True
        )
    return fields


def _ma_field(field: Field) -> ma.fields.Field[Any]:
    metadata: dict[str, Any] = {"description": field.description}
    if field.example is not None:
        metadata["example"] = field.example
    kinds: dict[str, type[ma.fields.Field[Any]]] = {
        "integer": ma.fields.Integer,
        "number": ma.fields.Float,
        "string": ma.fields.String,
        "boolean": ma.fields.Boolean,
        "date": ma.fields.Date,
        "date-time": ma.fields.DateTime,
    }
    return kinds[field.kind](required=True, allow_none=field.is_nullable, metadata=metadata)


def _put(tree: dict[str, Any], path: Iterable[str], leaf: Any) -> None:
    *parents, last = path
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[last] = leaf


def _grown(endpoint: Endpoint, tree: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: ma.fields.Nested(
            _schema(f"{_pascal(endpoint.name)}{_pascal('_'.join((*path, name)))}", _grown(endpoint, leaf, (*path, name))),
            required=True,
        )
        if isinstance(leaf, dict)
        else leaf
        for name, leaf in tree.items()
    }


def _schema(name: str, fields: Mapping[str, Any], *, strict: bool = False) -> type[ma.Schema]:
    class Meta:
        unknown = ma.RAISE if strict else ma.EXCLUDE
        # not looked up by its name: two contracts can be loaded one after the other
        register = False

    return type(name, (ma.Schema,), {**fields, "Meta": Meta})


def _pascal(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))
