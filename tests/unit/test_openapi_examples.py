"""The examples of openapi.json: those of the specification, ids that the demo has, and for each error its own."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from api.errors import ApiError
from api.settings import PROJECT_ROOT
from api.tools.demo.greeting import CAMPAIGN, WORKSPACE

DOCUMENT: dict[str, Any] = orjson.loads((PROJECT_ROOT / "openapi.json").read_bytes())
PAGE = PROJECT_ROOT.parent / "shared" / "spec" / "analytics-api.md"
OPERATIONS = [
    (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
]


def example_of(schema: dict[str, Any]) -> Any:
    """What a tool shows for a schema: its example, else one made of its fields'."""
    if "example" in schema:
        return schema["example"]
    if "const" in schema:
        return schema["const"]
    if "$ref" in schema:
        return example_of(DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return example_of(schema[key][0])
    if "items" in schema:
        return [example_of(schema["items"])]
    return {name: example_of(field) for name, field in schema.get("properties", {}).items()}


def response_example(operation: dict[str, Any]) -> Any:
    (status,) = [status for status in operation["responses"] if status.startswith("2")]
    content = operation["responses"][status]["content"]["application/json"]
    return content.get("example") or example_of(content["schema"])


def contradictions(specified: Any, ours: Any, path: str = "") -> list[str]:
    """Where our example has another value; of a list, only the first item is compared."""
    if isinstance(specified, dict):
        return [text for name in specified for text in contradictions(specified[name], ours[name], f"{path}.{name}".lstrip("."))]
    if isinstance(specified, list) and isinstance(specified[0], dict):
        return contradictions(specified[0], ours[0], path)
    return [] if specified == ours else [f"{path}: {specified!r} is {ours!r}"]


@pytest.mark.skipif(not PAGE.is_file(), reason="the folder ../shared/spec is not beside the project")
def test_examples_are_those_of_the_specification() -> None:
    found = {}
    order = []
    for section in PAGE.read_text().split("\n### ")[1:]:
        match = re.search(r"\*\*Method\*\*: `(\w+)`\s+\*\*URL\*\*: `(.+)`", section)
        if match is None:
            continue
        method, path = match[1].lower(), match[2]
        order.append((method, path))
        operation = DOCUMENT["paths"][path][method]
        (response,) = re.findall(r"\*\*Response:\*\*\s+```json\n(.*?)```", section, re.DOTALL)
        found[path] = contradictions(orjson.loads(response), response_example(operation))
        for body in re.findall(r"\*\*Request Body:\*\*\s+```json\n(.*?)```", section, re.DOTALL):
            examples = operation["requestBody"]["content"]["application/json"]["examples"]
            assert examples["specification"]["value"] == orjson.loads(body)
    assert {path: differences for path, differences in found.items() if differences} == {}
    # and the operations are in its order
    ours = [(method, path) for method, path, _ in OPERATIONS]
    assert [place for place in ours if place in order] == order


def test_what_the_documentation_page_sends_exists_in_the_demo() -> None:
    first = {
        parameter["name"]: parameter["example"]
        for item in DOCUMENT["paths"].values()
        for parameter in item["parameters"]
        if "example" in parameter
    }
    assert (first["workspaceId"], first["campaignId"]) == (WORKSPACE, CAMPAIGN)
    bodies = [
        next(iter(operation["requestBody"]["content"]["application/json"]["examples"].values()))["value"]
        for _, path, operation in OPERATIONS
        if path.endswith(("/compare", "/export"))
    ]
    assert [body["campaign_ids"] for body in bodies] == [["cmp_demo_1", "cmp_demo_4"], ["cmp_demo_1"]]


@pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[operation["operationId"] for *_, operation in OPERATIONS]
)
def test_each_error_has_its_own_example(method: str, path: str, operation: dict[str, Any]) -> None:
    codes: dict[str, set[str]] = {}
    for status, response in operation["responses"].items():
        if not status.startswith(("4", "5")):
            continue
        examples = response["content"]["application/json"]["examples"]
        assert all(example["value"]["error"]["code"] == code for code, example in examples.items())
        codes[status] = set(examples)
    assert codes["401"] == {"UNAUTHORIZED"}
    assert codes["403"] == {"FORBIDDEN"}
    # pages that are sorted, or that a query orders
    parameters = [parameter.get("name") for parameter in operation.get("parameters", ())]
    has_cursor = operation["operationId"] == "queryMetrics" or "order" in parameters
    assert codes["422"] == {"VALIDATION_ERROR", *(["INVALID_CURSOR"] if has_cursor else [])}
    assert codes["429"] == {"RATE_LIMIT_EXCEEDED"}
    assert codes["500"] == {"INTERNAL_ERROR"}
    drawing = {"CHART_UNAVAILABLE"} if path.endswith("/charts/{chart}") else set()
    assert codes["503"] == {"WAREHOUSE_UNAVAILABLE", "QUERY_TIMEOUT", *drawing}
    expected = {"{campaignId}": "CAMPAIGN_NOT_FOUND", "{exportId}": "EXPORT_NOT_FOUND", "{reportId}": "REPORT_NOT_FOUND"}
    for part, code in expected.items():
        own = {"CHART_NOT_FOUND"} if path.endswith("/charts/{chart}") else set()
        assert (part not in path) or codes["404"] == {code, *own}


def test_a_licence_that_does_not_exist_is_not_named() -> None:
    assert "license" not in DOCUMENT["info"] or "No licence" not in str(DOCUMENT["info"]["license"])


def test_the_document_has_the_code_of_each_error() -> None:
    def codes(error: type[ApiError]) -> set[str]:
        return {error.code}.union(*(codes(kind) for kind in error.__subclasses__()))

    known = DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"]
    assert codes(ApiError) - {""} - set(known) == set()
