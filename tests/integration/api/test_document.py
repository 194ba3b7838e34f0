"""The OpenAPI document: valid, equal to the code and true of the running service."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import pytest
from openapi_spec_validator import validate

from api.settings import PROJECT_ROOT, Settings
from api.web.openapi import document_text
from tests.integration.api.conftest import Caller
from tests.integration.api.example import CAMPAIGN, RATES, SUMMARY, WORKSPACE
from tests.support.command import mailmart

BIN = Path(sys.executable).parent
CASES = int(os.environ.get("MAILMART_TEST_SCHEMATHESIS_CASES", "150"))


@pytest.fixture(scope="module")
def document(caller: Caller) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(caller.client.get("/openapi.json").data)
    return found


def test_it_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_what_is_served_is_what_is_committed(document: dict[str, Any], settings: Settings) -> None:
    assert document_text(document) == (PROJECT_ROOT / "openapi.json").read_bytes()
    result = mailmart(settings, "openapi", "--check")
    assert result.exit_code == 0, result.output


def test_a_difference_is_shown(settings: Settings, tmp_path: Path) -> None:
    other = tmp_path / "openapi.json"
    other.write_text((PROJECT_ROOT / "openapi.json").read_text().replace("AnalyticsSummary", "AnalyticsSum"))
    result = mailmart(settings, "openapi", "--check", "--file", str(other))
    assert result.exit_code == 1
    assert '+      "AnalyticsSummary": {' in result.output


def test_names_are_the_specifications(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert list(schemas["AnalyticsSummary"]["properties"]) == list(SUMMARY)
    assert list(schemas["AnalyticsRates"]["properties"]) == list(RATES)
    assert {"date", "sent", "delivered", "opened", "clicked", "replied", "bounced", "spam_complaints"} == set(
        schemas["TimeSeriesDataPoint"]["properties"]
    )
    assert schemas["GroupBy"] == {"type": "string", "enum": ["day", "week", "month"]}
    assert schemas["CampaignAnalyticsResponse"]["properties"]["success"]["const"] is True
    assert "success" in schemas["CampaignAnalyticsResponse"]["required"]
    assert "Error" not in schemas
    assert "PaginationMetadata" not in schemas
    assert "additionalProperties" not in schemas["CampaignAnalyticsData"]


def test_everything_is_described_and_has_an_example(document: dict[str, Any]) -> None:
    for path in document["paths"].values():
        for parameter in path.get("parameters", []):
            assert parameter["description"]
        for operation in (path[method] for method in path if method != "parameters"):
            assert operation["description"]
            assert operation["summary"]
            assert operation["operationId"]
            assert all(parameter["description"] for parameter in operation.get("parameters", []))
            assert {"400", "401", "403", "404", "422", "500", "503"} <= set(operation["responses"])
            assert any(status.startswith("2") for status in operation["responses"])
    for name, schema in document["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            # a date of a custom window has none: the page would send it along with a window that takes none
            is_simple = "$ref" not in described and "anyOf" not in described and described.get("type") != "array"
            assert not is_simple or ("description" in described and "example" in described), f"{name}.{field}"


def test_the_page_needs_nothing_from_elsewhere(running: str) -> None:
    page = urllib.request.urlopen(f"{running}/docs").read().decode()
    assert "http" not in page.replace('charset="utf-8"', "")
    assert "<script>" not in page
    for asset, kind in (
        ("css/swagger-ui.css", "text/css"),
        ("js/swagger-ui-bundle.js", "text/javascript"),
        ("start.js", "text/javascript"),
    ):
        with urllib.request.urlopen(f"{running}/docs/{asset}") as response:
            assert response.headers["Content-Type"].startswith(kind)
            assert len(response.read()) > 100


# what is deleted is gone; but an export that is being written is canceled by it, and stays to be seen
EVERY_CHECK_BUT_GONE = ("--checks", "all", "--exclude-checks", "use_after_free")
GONE = ("--checks", "use_after_free", "--exclude-operation-id", "getExport", "--phases", "stateful")


@pytest.mark.timeout(3600 if CASES > 150 else 240)
@pytest.mark.parametrize("with_key", [True, False], ids=["with a key", "without"])
def test_schemathesis_finds_nothing(running: str, key: str, with_key: bool, tmp_path: Path) -> None:
    arguments = ["run", f"{running}/openapi.json", "--max-examples", str(CASES)]
    config = tmp_path / "schemathesis.toml"
    config.write_text((PROJECT_ROOT / "schemathesis.toml").read_text())
    if with_key:
        arguments += ["-H", f"Authorization: Bearer {key}"]
        # past the 403 and the 404, to the numbers
        with config.open("a") as file:
            file.write(f'\n[parameters]\n"path.workspaceId" = "{WORKSPACE}"\n"path.campaignId" = "{CAMPAIGN}"\n')
    for checks in (EVERY_CHECK_BUT_GONE, GONE):
        completed = subprocess.run(
            [str(BIN / "st"), "--config-file", str(config), *arguments, *checks],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert completed.returncode == 0, completed.stdout[-6000:] + completed.stderr[-2000:]
        assert "Test cases" in completed.stdout
        print(completed.stdout[completed.stdout.index("= SUMMARY =") :])
