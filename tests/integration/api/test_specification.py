"""The specification's own text against the service: each endpoint's method, path, parameters, and the shape of its example."""

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
# what the design adds, and what it takes a name out of for
ADDED = {"granularity"}


@dataclass(frozen=True)
class Told:
    """What the specification tells of an endpoint: its example answer, and its parameters with their values and default."""

    method: str
    path: str
    parameters: dict[str, tuple[list[str], str]]
    body: Any
    answer: Any


def told(title: str) -> Told:
    text = PAGE.read_text().split(f"\n### {title}\n")[1].split("\n---\n")[0]
    query = text.partition("**Query Parameters:**")[2].partition("**Response:**")[0]
    parameters = {}
    for name, rest in re.findall(r"^- `(\w+)` (.+)$", query, re.MULTILINE):
        described, _, default = rest.partition("(default: ")
        parameters[name] = (re.findall(r"`(\w+)`", described), default.strip("`)"))
    body = re.search(r"\*\*Request Body:\*\*\s+```json\n(.*?)```", text, re.DOTALL)
    answer = re.search(r"\*\*Response:\*\*\s+```json\n(.*?)```", text, re.DOTALL)
    method, path = re.search(r"\*\*Method\*\*: `(\w+)`\n\*\*URL\*\*: `(.+)`", text).groups()  # type: ignore[union-attr]
    return Told(method.lower(), path, parameters, orjson.loads(body[1]) if body else None, orjson.loads(answer[1]))  # type: ignore[index]


def differences(example: Any, found: Any, at: str = "") -> list[str]:
    """What the example has and the answer has not, or has of another type."""
    if isinstance(example, dict):
        if not isinstance(found, dict):
            return [f"{at} is no object"]
        return [
            text
            for name in example
            for text in (
                differences(example[name], found[name], f"{at}.{name}") if name in found else [f"{at}.{name} is missing"]
            )
        ]
    if isinstance(example, list):
        if not isinstance(found, list) or not found:
            return [f"{at} is no list with something in it"]
        return [text for one in found for text in differences(example[0], one, f"{at}[]")]
    # 92 and 92.0 are both numbers; nothing is known of what is null
    kinds = (int, float) if isinstance(example, int | float) and not isinstance(example, bool) else type(example)
    return [] if found is None or isinstance(found, kinds) else [f"{at} is {found!r}"]


@pytest.mark.parametrize("title", READING)
def test_the_answer_has_all_that_the_example_has(caller: Caller, title: str) -> None:
    asked = told(title)
    path = asked.path.format(workspaceId=WORKSPACE, campaignId=CAMPAIGN)
    body = asked.body and {**asked.body, "campaign_ids": [CAMPAIGN, "cmp_of_mail_alone"]}
    answer = caller.client.open(path, method=asked.method, headers={"Authorization": f"Bearer {caller.key}"}, json=body)
    assert answer.status_code == 200
    assert differences(asked.answer, answer.get_json()) == []


@pytest.mark.parametrize("title", READING)
def test_the_parameters_are_those_that_it_names(caller: Caller, title: str) -> None:
    document = caller.client.get("/openapi.json").get_json()
    schemas = document["components"]["schemas"]
    asked = told(title)
    operation = document["paths"][asked.path][asked.method]
    found = {}
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        named = schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
        found[parameter["name"]] = (named.get("enum", []), schema.get("default", ""))
        assert parameter["required"] is False
    assert {name: value for name, value in found.items() if name not in ADDED} == {
        # the workspace's time zone is a default that the document can only describe
        name: (values, "" if default == "workspace timezone" else default)
        for name, (values, default) in asked.parameters.items()
    }
    if asked.body:
        schema = schemas[operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]]
        assert set(asked.body) <= set(schema["properties"])


def test_what_differs_is_found() -> None:
    example = {"a": 1, "b": [{"c": "x"}], "d": True}
    assert differences(example, {"a": 2.5, "b": [{"c": "y"}], "d": None, "e": 0}) == []
    assert differences(example, {"a": "2", "b": [{"c": 1}], "d": 1}) == [".a is '2'", ".b[].c is 1", ".d is 1"]
    assert differences(example, {"b": []}) == [".a is missing", ".b is no list with something in it", ".d is missing"]
