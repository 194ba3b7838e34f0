"""The service against the specification's text: each endpoint's method, path and parameters, and the shape of its example."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from api.settings import PROJECT_ROOT
from tests.integration.api.conftest import Caller
from tests.integration.api.example import CAMPAIGN, WORKSPACE

PAGE = PROJECT_ROOT.parent / "shared" / "spec" / "analytics-api.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the folder ../shared/spec is not beside the project")
READING = (
    "Get Campaign Analytics",
    "Get Workspace Analytics Overview",
    "Get Deliverability Analytics",
    "Get Engagement Heatmap",
    "Compare Campaigns",
)
# what the design adds to the parameters of some endpoints: whole parameters, and one value
ADDED = {
    "Get Campaign Analytics": {"compare_to", "timezone"},
    "Get Workspace Analytics Overview": {"compare_to"},
    "Get Deliverability Analytics": {"compare_to", "startDate", "endDate", "timezone"},
    "Get Engagement Heatmap": {"granularity", "startDate", "endDate"},
    "Compare Campaigns": set[str](),
}
ADDED_VALUE = "custom"


@dataclass(frozen=True)
class SpecifiedEndpoint:
    """An endpoint of the specification. `parameters`: name → allowed values and default; `response`: the example."""

    method: str
    path: str
    parameters: dict[str, tuple[list[str], str]]
    body: Any
    response: Any


def read_specification(title: str) -> SpecifiedEndpoint:
    text = PAGE.read_text().split(f"\n### {title}\n")[1].split("\n---\n")[0]
    query = text.partition("**Query Parameters:**")[2].partition("**Response:**")[0]
    parameters = {}
    for name, rest in re.findall(r"^- `(\w+)` (.+)$", query, re.MULTILINE):
        described, _, default = rest.partition("(default: ")
        parameters[name] = (re.findall(r"`(\w+)`", described), default.strip("`)"))
    body = re.search(r"\*\*Request Body:\*\*\s+```json\n(.*?)```", text, re.DOTALL)
    response = re.search(r"\*\*Response:\*\*\s+```json\n(.*?)```", text, re.DOTALL)
    method, path = re.search(r"\*\*Method\*\*: `(\w+)`\n\*\*URL\*\*: `(.+)`", text).groups()  # type: ignore[union-attr]
    return SpecifiedEndpoint(method.lower(), path, parameters, orjson.loads(body[1]) if body else None, orjson.loads(response[1]))  # type: ignore[index]


def differences(example: Any, actual: Any, path: str = "") -> list[str]:
    """Fields of the example that the response lacks, or has with another type."""
    if isinstance(example, dict):
        if not isinstance(actual, dict):
            return [f"{path} is not an object"]
        return [
            text
            for name in example
            for text in (
                differences(example[name], actual[name], f"{path}.{name}") if name in actual else [f"{path}.{name} is missing"]
            )
        ]
    if isinstance(example, list):
        if not isinstance(actual, list) or not actual:
            return [f"{path} is not a non-empty list"]
        return [text for item in actual for text in differences(example[0], item, f"{path}[]")]
    # 92 and 92.0 are both numbers; null matches any type
    kinds = (int, float) if isinstance(example, int | float) and not isinstance(example, bool) else type(example)
    return [] if actual is None or isinstance(actual, kinds) else [f"{path} is {actual!r}"]


@pytest.mark.parametrize("title", READING)
def test_response_has_every_field_of_the_example(caller: Caller, title: str) -> None:
    endpoint = read_specification(title)
    path = endpoint.path.format(workspaceId=WORKSPACE, campaignId=CAMPAIGN)
    body = endpoint.body and {**endpoint.body, "campaign_ids": [CAMPAIGN, "cmp_of_mail_alone"]}
    response = caller.client.open(path, method=endpoint.method, headers={"Authorization": f"Bearer {caller.key}"}, json=body)
    assert response.status_code == 200
    assert differences(endpoint.response, response.get_json()) == []


@pytest.mark.parametrize("title", READING)
def test_parameters_match_the_specification(caller: Caller, title: str) -> None:
    document = caller.client.get("/openapi.json").get_json()
    schemas = document["components"]["schemas"]
    endpoint = read_specification(title)
    operation = document["paths"][endpoint.path][endpoint.method]
    documented = {}
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        resolved = schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
        documented[parameter["name"]] = (resolved.get("enum", []), schema.get("default", ""))
        assert parameter["required"] is False
    assert set(documented) == set(endpoint.parameters) | (ADDED[title] if documented else set())
    for name, (values, default) in endpoint.parameters.items():
        documented_values, documented_default = documented[name]
        assert documented_values in (values, [*values, ADDED_VALUE])
        # the document can only describe this default
        assert documented_default == ("" if default == "workspace timezone" else default)
    if endpoint.body:
        schema = schemas[operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]]
        assert set(endpoint.body) <= set(schema["properties"])


def test_differences_are_found() -> None:
    example = {"a": 1, "b": [{"c": "x"}], "d": True}
    assert differences(example, {"a": 2.5, "b": [{"c": "y"}], "d": None, "e": 0}) == []
    assert differences(example, {"a": "2", "b": [{"c": 1}], "d": 1}) == [".a is '2'", ".b[].c is 1", ".d is 1"]
    assert differences(example, {"b": []}) == [".a is missing", ".b is not a non-empty list", ".d is missing"]
