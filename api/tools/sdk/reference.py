"""The page REFERENCE.md of an SDK: its operations with their signatures, and its models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PYTHON = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "date": "date", "date-time": "datetime"}
TYPESCRIPT = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean"}


def write_reference(name: str, document: dict[str, Any], path: Path) -> None:
    """Writes the page of the SDK `name`."""
    path.write_text("\n".join(_Page(name, document).lines()) + "\n")


class _Page:
    def __init__(self, name: str, document: dict[str, Any]) -> None:
        self._sdk = name
        self._is_python = name in ("python", "openapi-python-client")
        self._document = document
        self._schemas: dict[str, Any] = document["components"]["schemas"]

    def lines(self) -> Iterator[str]:
        yield "# Operations and models"
        yield "\nHow to make a client, and what it does about errors and limits, is in [README.md](README.md)."
        yield "\n## Operations"
        for path, methods in self._document["paths"].items():
            for method, operation in methods.items():
                if method != "parameters":
                    yield from self._operation(path, method, operation, methods.get("parameters", []))
        yield "\n## Models"
        for name, schema in sorted(self._schemas.items()):
            if "properties" in schema:
                yield from self._model(name, schema)
        yield "\n## Values"
        yield "\n| type | values |\n|---|---|"
        for name, schema in sorted(self._schemas.items()):
            if "enum" in schema:
                yield f"| `{name}` | {', '.join(f'`{value}`' for value in schema['enum'])} |"

    def _operation(self, path: str, method: str, operation: dict[str, Any], shared: list[Any]) -> Iterator[str]:
        parameters = [*shared, *operation.get("parameters", [])]
        # required ones first, as in the signatures
        parameters = sorted((self._resolved(one) for one in parameters), key=lambda one: not one.get("required", False))
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        yield f"\n### {operation['summary']}\n"
        yield f"{operation['description']}\n" if "description" in operation else ""
        yield f"```{'python' if self._is_python else 'ts'}"
        yield self._signature(path, method, operation, parameters, body)
        yield "```"
        described = [one for one in parameters if one["in"] != "path"]
        if described:
            yield f"\n| {'argument' if self._is_python else 'parameter'} | type | default | meaning |\n|---|---|---|---|"
        for one in described:
            default = one["schema"].get("default", "")
            name = self._wire(one["name"]) if self._sdk == "openapi-typescript" else self._name(one["name"])
            cells = (f"`{name}`", self._cell(one["schema"]), f"`{default}`" if default != "" else "", self._text(one))
            yield f"| {' | '.join(cells)} |"

    def _signature(self, path: str, method: str, operation: dict[str, Any], parameters: list[Any], body: Any) -> str:
        tag = operation["tags"][0].lower()
        name = self._name(operation["operationId"])
        result = self._result(operation)
        required = [self._name(one["name"]) for one in parameters if one.get("required")]
        optional = [self._name(one["name"]) for one in parameters if not one.get("required")]
        body_name = self._name(body["$ref"].rpartition("/")[2]) if body else None
        if self._sdk == "python":
            arguments = [*required, *([body_name] if body_name else []), *(f"{one}=…" for one in optional)]
            return f"client.{tag}.{name}({', '.join(arguments)}) -> {result}"
        if self._sdk == "openapi-python-client":
            arguments = [*required, "client=client", *(["body=…"] if body else []), *(f"{one}=…" for one in optional)]
            called = f"{name}.sync({', '.join(arguments)}) -> {result}"
            return f"from mailmart_client.api.{tag} import {name}\n\n{called}"
        if self._sdk == "typescript-fetch":
            fields = [*required, *([body_name] if body_name else []), *(f"{one}?" for one in optional)]
            return f"client.{tag}.{name}({{ {', '.join(fields)} }}): Promise<{result}>"
        groups = {"path": "path", "query": "query?", "header": "header?"}
        listed = [
            f"{label}: {{ {', '.join(self._wire(one['name']) + ('' if one.get('required') else '?') for one in found)} }}"
            for place, label in groups.items()
            if (found := [one for one in parameters if one["in"] == place])
        ]
        fields = [f"params: {{ {', '.join(listed)} }}", *([f"body: {body['$ref'].rpartition('/')[2]}"] if body else [])]
        return f'ok(client.{method.upper()}("{path}", {{ {", ".join(fields)} }})): Promise<{result}>'

    def _model(self, name: str, schema: dict[str, Any]) -> Iterator[str]:
        yield f"\n### {name}\n"
        yield "| field | type | meaning |\n|---|---|---|"
        for field, described in schema["properties"].items():
            shown = self._field(field) + ("" if field in schema.get("required", ()) else " (optional)")
            yield f"| `{shown}` | {self._cell(described)} | {self._text(described)} |".replace(" (optional)`", "` (optional)")

    def _result(self, operation: dict[str, Any]) -> str:
        for status, response in operation["responses"].items():
            if status < "300" and "content" in response:
                return self._type(response["content"]["application/json"]["schema"])
        return "None" if self._is_python else "void" if self._sdk == "typescript-fetch" else "undefined"

    def _cell(self, schema: dict[str, Any]) -> str:
        text = self._type(schema).replace("|", "\\|")
        return f"`{text}`"

    def _type(self, schema: dict[str, Any]) -> str:
        if "$ref" in schema:
            target = schema["$ref"].rpartition("/")[2]
            found = self._schemas[target]
            return self._type(found) if "properties" not in found and "enum" not in found else target
        if "anyOf" in schema:
            parts = [part for part in schema["anyOf"] if part.get("type") != "null"]
            # a date or date-time: openapi-generator's SDKs take the date
            parts = parts[:1] if all("format" in part for part in parts) else parts
            null = len(parts) < len(schema["anyOf"]) and any(part.get("type") == "null" for part in schema["anyOf"])
            return self._nullable(" | ".join(dict.fromkeys(self._type(part) for part in parts)), null)
        kinds = schema.get("type", "object")
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        kind = next(one for one in kinds if one != "null")
        if kind == "array":
            item = self._type(schema["items"])
            text = f"list[{item}]" if self._is_python else f"{item}[]"
        elif kind == "object":
            text = "dict[str, Any]" if self._is_python else "object"
        elif self._is_python:
            text = PYTHON.get(schema.get("format", ""), PYTHON[kind])
        else:
            is_instant = self._sdk == "typescript-fetch" and schema.get("format") == "date-time"
            text = "Date" if is_instant else TYPESCRIPT[kind]
        return self._nullable(text, "null" in kinds)

    def _nullable(self, text: str, is_nullable: bool) -> str:
        return f"{text} | {'None' if self._is_python else 'null'}" if is_nullable else text

    def _resolved(self, parameter: dict[str, Any]) -> dict[str, Any]:
        resolved: dict[str, Any] = parameter
        for part in parameter.get("$ref", "#").split("/")[1:]:
            resolved = self._document[part] if resolved is parameter else resolved[part]
        return resolved

    def _field(self, name: str) -> str:
        """The attribute of a model's field: for "$schema" "schema", which in pydantic's models is the name of a method."""
        if self._is_python and name.startswith("$"):
            return f"var_{name[1:]}" if self._sdk == "python" else name[1:]
        return name if self._sdk == "openapi-typescript" else self._name(name)

    def _name(self, name: str) -> str:
        words = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).replace("-", "_").lower()
        return words if self._is_python else re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), words)

    def _wire(self, name: str) -> str:
        return name if name.isidentifier() else f'"{name}"'

    def _text(self, described: dict[str, Any]) -> str:
        text: str = described.get("description", "")
        if self._is_python:
            # "from startDate to endDate": the arguments are start_date and end_date
            text = re.sub(r"\b(start|end)Date\b", r"\1_date", text)
        return " ".join(text.split()).replace("|", "\\|")
