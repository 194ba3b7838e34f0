"""The OpenAPI document, and the Swagger UI page that shows it: from a package's files, without inline script."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from copy import deepcopy
from importlib.metadata import metadata, version
from pathlib import Path
from typing import Any

import orjson
from flask import Blueprint, Response, send_from_directory

from api.errors import MailmartError
from api.web.security_headers import DOCS_POLICY, POLICY_HEADER


def _licence() -> dict[str, Any]:
    """The `license` of the document's info, if pyproject.toml has one. "No licence" would be a name of one."""
    expression = str(metadata("mailmart").json.get("license_expression", ""))
    return {"license": {"name": expression, "identifier": expression}} if expression else {}


OPENAPI_OPTIONS: dict[str, Any] = {
    "API_TITLE": "mailmart analytics",
    "API_VERSION": "v1",
    "OPENAPI_VERSION": "3.1.0",
    "API_SPEC_OPTIONS": {
        "info": {
            "description": "E-mail analytics: campaigns, workspaces, deliverability, send times.\n\n"
            "Counts belong to the day on which a message was sent. Rates are percentages. Times are UTC.",
            "contact": {"name": "The operator of this service"},
            **_licence(),
            "x-release": version("mailmart"),
        },
        "components": {
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (`mm_…`, created by `mailmart keys create`). If the operator has configured a key"
                    " for tokens, also a JWT with a `workspace_id` claim.",
                }
            }
        },
        "security": [{"apiKey": []}],
        "servers": [{"url": "/", "description": "This service."}],
    },
}
# all addresses are relative: a proxy may serve the page below a path
PAGE = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>mailmart analytics API</title>
    <link rel="stylesheet" href="docs/css/swagger-ui.css">
    <link rel="icon" href="data:,">
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="docs/js/swagger-ui-bundle.js"></script>
    <script src="docs/start.js"></script>
  </body>
</html>
"""
START = """window.addEventListener("load", function () {
  window.ui = SwaggerUIBundle({
    url: "openapi.json",
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
    """Adds what apispec cannot express: named enums, constants, and values of several formats.

    Fields request them by x- keys in their metadata: x-enum-name, x-constant, x-any-of-formats. x-enum-varnames stays in the
    document: names for SDKs, if an enum's values are not identifiers; and x-enum-descriptions: what each value means.

    Raises:
        MailmartError: two different enums have the same name.
    """
    result = deepcopy(document)
    schemas: dict[str, Any] = result.setdefault("components", {}).setdefault("schemas", {})
    # flask-smorest's own, which no operation uses
    for name in ("Error", "PaginationMetadata"):
        schemas.pop(name, None)
    result["components"].pop("responses", None)
    result["components"].pop("headers", None)
    for path in result["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                operation["responses"].pop("default", None)
                operation["responses"] = dict(sorted(operation["responses"].items()))
    named: dict[str, Any] = {}
    for parent, key, schema in list(_schemas(result)):
        if "x-constant" in schema:
            schema["const"] = schema.pop("x-constant")
            schema.pop("enum", None)
        if "x-any-of-formats" in schema:
            formats = schema.pop("x-any-of-formats")
            schema.pop("format", None)
            schema.pop("type", None)
            # one named schema: otherwise, SDK generators make a model for each use
            name = "Or".join(part.title().replace("-", "") for part in formats)
            named[name] = {"anyOf": [{"type": "string", "format": part} for part in formats]}
            parent[key] = {"$ref": f"#/components/schemas/{name}", **schema}
        if "x-enum-name" in schema:
            name = schema.pop("x-enum-name")
            members = {key: schema.pop(key) for key in ("x-enum-varnames", "x-enum-descriptions") if key in schema}
            enum = {"type": "string", "enum": schema.pop("enum"), **members}
            if named.setdefault(name, enum) != enum:
                raise MailmartError(f"two different enums of the OpenAPI document are named {name}")
            schema.pop("type", None)
            parent[key] = {"$ref": f"#/components/schemas/{name}", **schema}
    schemas |= named
    result["components"]["schemas"] = dict(sorted(schemas.items()))
    order = ("openapi", "info", "servers", "security", "tags", "paths", "components")
    return {key: result[key] for key in order if key in result}


# what an agent reads first (llmstxt.org)
LLMS_TEXT = """\
# mailmart

> Analytics of e-mail campaigns: what was sent, delivered, bounced, opened, clicked and replied to, by workspace, campaign,
> mailbox, domain, recipient and time. Every number comes from one dbt project, with its definition.

Everything below needs an API key (`Authorization: Bearer mm_…`), which belongs to one workspace.

- [Tools]({url}/mcp): Model Context Protocol, streamable HTTP. Begin here.
- [OpenAPI document]({url}/openapi.json): every endpoint, parameter and number, with descriptions. No key is needed.
- [Documentation]({url}/docs): the same as a page.
- [Credential]({url}/api/v1/credential): the workspace and the scopes of the key.
"""


def documentation_blueprint(document: dict[str, Any], public_path: str = "") -> Blueprint:
    """/openapi.json, /docs and /llms.txt. The paths of the document are below `public_path`, the path of the public URL."""
    blueprint = Blueprint("documentation", __name__)
    servers = [{**server, "url": public_path or server["url"]} for server in document["servers"]]
    text = document_text({**document, "servers": servers})
    assets = _assets()

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return Response(text, mimetype="application/json")

    @blueprint.get("/llms.txt")
    def llms() -> Response:
        return Response(LLMS_TEXT.replace("{url}", public_path), mimetype="text/markdown")

    @blueprint.get("/docs")
    def docs() -> Response:
        return Response(PAGE, mimetype="text/html", headers={POLICY_HEADER: DOCS_POLICY})

    @blueprint.get("/docs/start.js")
    def start() -> Response:
        return Response(START, mimetype="text/javascript")

    @blueprint.get("/docs/<any(css, js):kind>/<path:name>")
    def asset(kind: str, name: str) -> Response:
        return send_from_directory(assets / kind, name, max_age=86_400)

    return blueprint


def document_text(document: dict[str, Any]) -> bytes:
    """The document as committed, and as returned by /openapi.json."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _schemas(node: Any) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """Every object of the document that could be a schema, with its parent and its key in the parent."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        if isinstance(value, dict):
            yield node, key, value
        yield from _schemas(value)


def _assets() -> Path:
    # located, not imported: the package's own code needs another framework
    spec = importlib.util.find_spec("flask_openapi_swagger")
    if spec is None or spec.origin is None:
        raise MailmartError("the package flask-openapi-swagger is not installed", hint="Install mailmart's requirements again.")
    return Path(spec.origin).parent / "templates" / "swagger"
