"""The OpenAPI document, and the page that shows it, out of a package's files and without a line of inline script."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import orjson
from flask import Blueprint, Response, send_from_directory

from api.errors import MailmartError
from api.web.security_headers import OWN_FILES, POLICY

TITLE = "mailmart analytics"
PAGE = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>mailmart analytics API</title>
    <link rel="stylesheet" href="/docs/css/swagger-ui.css">
    <link rel="icon" href="data:,">
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="/docs/js/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
"""
START = """window.addEventListener("load", function () {
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    persistAuthorization: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    validatorUrl: null
  });
});
"""


def postprocess_openapi(document: dict[str, Any]) -> dict[str, Any]:
    """apispec's document with what it cannot say: named enums, constants, values of several formats.

    Fields ask for them by x- keys in their metadata: x-enum-name, x-constant, x-any-of-formats. What an SDK calls an enum's
    members stays in the document, where their values are no names: x-enum-varnames.
    """
    finished = deepcopy(document)
    schemas: dict[str, Any] = finished.setdefault("components", {}).setdefault("schemas", {})
    # flask-smorest's own, which nothing here uses
    for name in ("Error", "PaginationMetadata"):
        schemas.pop(name, None)
    finished["components"].pop("responses", None)
    finished["components"].pop("headers", None)
    for path in finished["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                operation["responses"].pop("default", None)
                operation["responses"] = dict(sorted(operation["responses"].items()))
    named: dict[str, Any] = {}
    for principal, key, schema in list(_schemas(finished)):
        if "x-constant" in schema:
            schema["const"] = schema.pop("x-constant")
            schema.pop("enum", None)
        if "x-any-of-formats" in schema:
            formats = schema.pop("x-any-of-formats")
            schema.pop("format", None)
            schema.pop("type", None)
            # named once: a generator would make a model for each place
            name = "Or".join(part.title().replace("-", "") for part in formats)
            named[name] = {"anyOf": [{"type": "string", "format": part} for part in formats]}
            principal[key] = {"$ref": f"#/components/schemas/{name}", **schema}
        if "x-enum-name" in schema:
            name = schema.pop("x-enum-name")
            members = {"x-enum-varnames": schema.pop("x-enum-varnames")} if "x-enum-varnames" in schema else {}
            enum = {"type": "string", "enum": schema.pop("enum"), **members}
            if named.setdefault(name, enum) != enum:
                raise MailmartError(f"two enums of the document are called {name}")
            schema.pop("type", None)
            principal[key] = {"$ref": f"#/components/schemas/{name}", **schema}
    schemas |= named
    finished["components"]["schemas"] = dict(sorted(schemas.items()))
    order = ("openapi", "info", "servers", "security", "tags", "paths", "components")
    return {key: finished[key] for key in order if key in finished}


def documentation_blueprint(document: dict[str, Any]) -> Blueprint:
    """/openapi.json and /docs."""
    blueprint = Blueprint("documentation", __name__)
    text = document_text(document)
    assets = _assets()

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return Response(text, mimetype="application/json")

    @blueprint.get("/docs")
    def docs() -> Response:
        return Response(PAGE, mimetype="text/html", headers={POLICY: OWN_FILES})

    @blueprint.get("/docs/start.js")
    def start() -> Response:
        return Response(START, mimetype="text/javascript")

    @blueprint.get("/docs/<any(css, js):kind>/<path:name>")
    def asset(kind: str, name: str) -> Response:
        return send_from_directory(assets / kind, name, max_age=86_400)

    return blueprint


def document_text(document: dict[str, Any]) -> bytes:
    """The document as it is committed and served."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _schemas(node: Any) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """Every object of the document that could be a schema, with what holds it and under which key."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        if isinstance(value, dict):
            yield node, key, value
        yield from _schemas(value)


def _assets() -> Path:
    # found, not imported: the package's own code is for another framework
    spec = importlib.util.find_spec("flask_openapi_swagger")
    if spec is None or spec.origin is None:
        raise MailmartError("the package flask-openapi-swagger is not installed", hint="Install the requirements again.")
    return Path(spec.origin).parent / "templates" / "swagger"
