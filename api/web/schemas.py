"""marshmallow schemas out of the contract: they document, and check responses in tests. Rows do not pass through them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import marshmallow as ma

from api.contract.exposures import Endpoint, Field, Section
from api.contract.parameters import PARAMETERS, parameter_fields
from api.errors import NOT_FOUND

CODES = (
    "MALFORMED_REQUEST",
    "INVALID_TIME_RANGE",
    "UNAUTHORIZED",
    "FORBIDDEN",
    *NOT_FOUND,
    "METHOD_NOT_ALLOWED",
    "CONTENT_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE",
    "VALIDATION_ERROR",
    "RATE_LIMIT_EXCEEDED",
    "INTERNAL_ERROR",
    "WAREHOUSE_UNAVAILABLE",
    "QUERY_TIMEOUT",
    "STORAGE_UNAVAILABLE",
)


# fields by their names; a dict is an object inside
Tree = dict[str, Any]


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


def request_schema(endpoint: Endpoint) -> type[ma.Schema]:
    """The schema of an endpoint's query or body: what is not in it is refused."""
    fields: dict[str, Any] = {}
    for name, choices in endpoint.parameters.items():
        fields |= parameter_fields(name, choices, endpoint.defaults.get(name, ()))
    return _schema(f"{_pascal(endpoint.name)}{'Request' if endpoint.method == 'post' else 'Query'}", fields, strict=True)


def response_schema(endpoint: Endpoint) -> type[ma.Schema]:
    """The schema of an endpoint's 200."""
    tree: Tree = {}
    for name in endpoint.parameters:
        tree |= {key: ma.fields.Nested(schema, required=True) for key, schema in PARAMETERS[name].shows.items()}
    names: dict[tuple[str, ...], str] = {(): f"{_pascal(endpoint.name)}Data"}
    nullable: set[tuple[str, ...]] = set()
    for section in endpoint.sections:
        if section.not_found_error:
            continue
        row, row_names = _row(section)
        if section.is_list:
            default = f"{_pascal(endpoint.name)}{_pascal('_'.join(section.path))}"
            schema = _grown({(): default, **row_names}, row, (), frozenset())
            _put(tree, section.path, ma.fields.List(ma.fields.Nested(schema), required=True))
            continue
        _merge(tree, section.path, row)
        names |= {(*section.path, *path): name for path, name in row_names.items() if (*section.path, *path)}
        if section.is_nullable:
            nullable.add(section.path)
    return data_schema(
        f"{_pascal(endpoint.name)}Response",
        ma.fields.Nested(_grown(names, tree, (), frozenset(nullable)), required=True),
        meta=ma.fields.Nested(Meta, required=True),
    )


def data_schema(name: str, data: ma.fields.Field[Any], **more: ma.fields.Field[Any]) -> type[ma.Schema]:
    """The schema of an answer with data."""
    success = ma.fields.Boolean(
        required=True,
        validate=ma.validate.Equal(True),
        metadata={"description": "true: there is data.", "x-constant": True, "example": True},
    )
    return _schema(name, {"success": success, "data": data, **more})


def _row(section: Section) -> tuple[Tree, dict[tuple[str, ...], str]]:
    """The fields of a section's row, those of its objects inside, and the names that the model gives to these."""
    tree: Tree = {}
    for field in section.fields:
        _put(tree, (*filter(None, [field.group]), field.name), _ma_field(field))
    return tree, {() if name == "." else (name,): schema for name, schema in section.schema_names.items()}


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
    return kinds[field.kind](required=field.if_param == ("", ""), allow_none=field.is_nullable, metadata=metadata)


def _put(tree: Tree, path: Iterable[str], leaf: Any) -> None:
    *parents, last = path
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[last] = leaf


def _merge(tree: Tree, path: tuple[str, ...], row: Tree) -> None:
    """Puts a row's fields at a path, beside what is there."""
    for name in path:
        tree = tree.setdefault(name, {})
    for name, leaf in row.items():
        if isinstance(leaf, dict):
            _merge(tree, (name,), leaf)
        else:
            tree[name] = leaf


def _grown(
    names: Mapping[tuple[str, ...], str], tree: Tree, path: tuple[str, ...], nullable: frozenset[tuple[str, ...]]
) -> type[ma.Schema]:
    """The schema of an object, with those of the objects inside; without a name of its own it has its place's."""
    fields = {
        name: ma.fields.Nested(_grown(names, leaf, (*path, name), nullable), required=True, allow_none=(*path, name) in nullable)
        if isinstance(leaf, dict)
        else leaf
        for name, leaf in tree.items()
    }
    return _schema(names.get(path) or f"{names[()].removesuffix('Data')}{_pascal('_'.join(path))}", fields)


def _schema(name: str, fields: Mapping[str, Any], *, strict: bool = False) -> type[ma.Schema]:
    class Meta:
        unknown = ma.RAISE if strict else ma.EXCLUDE
        # not looked up by its name: two contracts can be loaded one after the other
        register = False

    return type(name, (ma.Schema,), {**fields, "Meta": Meta})


def _pascal(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))
