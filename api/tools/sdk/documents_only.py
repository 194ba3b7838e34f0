"""The methods of charts return documents: a generated method has one type, and pictures are files."""

from __future__ import annotations

from typing import Any

JSON = "application/json"
FORMAT = {"$ref": "#/components/schemas/ChartFormat"}


def without_pictures(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document without the content types beside JSON, and without the parameter that chooses one of them."""
    for path in document["paths"].values():
        for operation in (part for part in path.values() if isinstance(part, dict)):
            operation["parameters"] = [part for part in operation.get("parameters", []) if part.get("schema") != FORMAT]
            for response in operation["responses"].values():
                content = response.get("content", {})
                if JSON in content:
                    response["content"] = {JSON: content[JSON]}
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        properties = schema.get("properties", {})
        if properties.get("format", {}).get("$ref") == FORMAT["$ref"]:
            del properties["format"]
    schemas.pop("ChartFormat", None)
    return document
