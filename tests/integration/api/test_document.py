"""The OpenAPI document: valid, up to date, complete, and true of the running service."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import pytest

from api.settings import PROJECT_ROOT, Settings
from api.web.openapi import document_text
from tests.integration.api.conftest import Caller
from tests.integration.api.example import CAMPAIGN, RATES, SUMMARY, WORKSPACE
from tests.support.command import mailmart

BIN = Path(sys.executable).parent
CASES = int(os.environ.get("MAILMART_TEST_SCHEMATHESIS_CASES", "10"))


@pytest.fixture(scope="module")
def document(caller: Caller) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(caller.client.get("/openapi.json").data)
    return document


def test_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    from openapi_spec_validator import validate

    assert document["openapi"].startswith("3.1")
    validate(document)


def test_committed_document_is_up_to_date(document: dict[str, Any], settings: Settings) -> None:
    assert document_text(document) == (PROJECT_ROOT / "openapi.json").read_bytes()
    result = mailmart(settings, "openapi", "--check")
    assert result.exit_code == 0, result.output


def test_check_shows_the_difference(settings: Settings, tmp_path: Path) -> None:
    other = tmp_path / "openapi.json"
    other.write_text((PROJECT_ROOT / "openapi.json").read_text().replace("AnalyticsSummary", "AnalyticsSum"))
    result = mailmart(settings, "openapi", "--check", "--file", str(other))
    assert result.exit_code == 1
    assert '+      "AnalyticsSummary": {' in result.output


def test_names_match_the_specification(document: dict[str, Any]) -> None:
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


def test_errors_have_the_standard_texts(document: dict[str, Any]) -> None:
    texts = {
        "400": "Invalid time range or malformed JSON.",
        "401": "Missing or invalid credentials.",
        "403": "Not allowed for this workspace or scope.",
        "404": "Not found in this workspace.",
        "422": "Invalid parameters.",
        "429": "Rate limit exceeded.",
        "500": "Internal server error.",
        "503": "Data temporarily unavailable.",
    }
    for path in document["paths"].values():
        for operation in (path[method] for method in path if method != "parameters"):
            assert {status: operation["responses"][status]["description"] for status in texts} == texts
    data_as_of = document["components"]["schemas"]["Meta"]["properties"]["data_as_of"]
    assert data_as_of["description"] == "The response includes all events loaded up to this time."


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
            # dates have no example: Swagger UI would send it with every time range
            is_simple = "$ref" not in described and "anyOf" not in described and described.get("type") != "array"
            assert not is_simple or ("description" in described and "example" in described), f"{name}.{field}"


def test_swagger_ui_loads_nothing_from_other_hosts(running: str) -> None:
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


# deleting an export that is being written cancels it, so it can still be read: use_after_free does not apply to it
ALL_BUT_USE_AFTER_FREE = ("--checks", "all", "--exclude-checks", "use_after_free")
USE_AFTER_FREE = ("--checks", "use_after_free", "--exclude-operation-id", "getExport", "--phases", "stateful")
# without a key nothing is made that a later request could use, and no parameter is read: its hundreds of cases of parameters
# that are nearly right (coverage) are for the long run
NOT_STATEFUL = ("--phases", "examples,coverage,fuzzing" if CASES > 60 else "examples,fuzzing")


@pytest.mark.timeout(3600 if CASES > 60 else 1200)
@pytest.mark.parametrize("with_key", [True, False], ids=["with a key", "without a key"])
def test_schemathesis_finds_no_problem(running: str, key: str, with_key: bool, tmp_path: Path) -> None:
    arguments = ["run", f"{running}/openapi.json", "--max-examples", str(CASES)]
    config = tmp_path / "schemathesis.toml"
    config.write_text((PROJECT_ROOT / "schemathesis.toml").read_text())
    if with_key:
        arguments += ["-H", f"Authorization: Bearer {key}"]
        # valid ids, to get past 403 and 404
        with config.open("a") as file:
            file.write(f'\n[parameters]\n"path.workspaceId" = "{WORKSPACE}"\n"path.campaignId" = "{CAMPAIGN}"\n')
    runs = (ALL_BUT_USE_AFTER_FREE, USE_AFTER_FREE) if with_key else ((*ALL_BUT_USE_AFTER_FREE, *NOT_STATEFUL),)
    for checks in runs:
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
