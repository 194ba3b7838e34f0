"""What the names in a response mean, out of the OpenAPI document: the descriptions are dbt's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]


def response_definitions(document: Document, operation_id: str) -> dict[str, str]:
    """Name → description of each field in the operation's response; {} if the API has no such operation."""
    for operation in _operations(document):
        if operation.get("operationId") == operation_id:
            content = operation["responses"]["200"]["content"]["application/json"]["schema"]
            return dict(_described(document, content, frozenset()))
    return {}


def request_enum(document: Document, operation_id: str, *path: str) -> dict[str, str]:
    """The allowed values of a field of the operation's body, each with its description (or '')."""
    for operation in _operations(document):
        if operation.get("operationId") == operation_id:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            for name in path:
                schema = _resolved(document, _resolved(document, schema)["properties"][name])
                schema = _resolved(document, schema.get("items", schema))
            descriptions = schema.get("x-enum-descriptions") or [""] * len(schema["enum"])
            return dict(zip(schema["enum"], descriptions, strict=True))
    return {}


def _operations(document: Document) -> Iterator[Mapping[str, Any]]:
    for path in document["paths"].values():
        yield from (operation for operation in path.values() if isinstance(operation, Mapping))


def _resolved(document: Document, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while True:
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        elif len(schema.get("allOf", ())) == 1:
            schema = schema["allOf"][0]
        else:
            return schema


def _described(document: Document, schema: Mapping[str, Any], above: frozenset[str]) -> Iterator[tuple[str, str]]:
    reference = schema.get("$ref", "")
    if reference in above:
        return
    schema = _resolved(document, schema)
    above |= {reference} if reference else frozenset()
    for part in (*schema.get("allOf", ()), *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _described(document, part, above)
    if "items" in schema:
        yield from _described(document, schema["items"], above)
    for name, part in schema.get("properties", {}).items():
        if part.get("description"):
            yield name, part["description"]
        yield from _described(document, part, above)
