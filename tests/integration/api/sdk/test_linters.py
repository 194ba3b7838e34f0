"""The OpenAPI document passes the recommended rules of two linters, Redocly and Spectral."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from api.settings import PROJECT_ROOT
from api.tools.sdk.npm import npm_packages
from api.tools.sdk.programs import ProgramFailed, run
from tests.integration.api.sdk.needs import needs

# on a fresh clone, npm packages are installed first
pytestmark = [needs("node", "npm"), pytest.mark.timeout(900)]
DOCUMENT = PROJECT_ROOT / "openapi.json"


@pytest.fixture(autouse=True)
def _no_redocly_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redocly would look for updates and send usage data."""
    monkeypatch.setenv("REDOCLY_TELEMETRY", "off")
    monkeypatch.setenv("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")


def redocly(document: Path, folder: Path) -> list[str]:
    """The violated rules and their locations."""
    try:
        output = run(npm_packages() / ".bin" / "redocly", "lint", "--extends=recommended", "--format=json", document, cwd=folder)
    except ProgramFailed as error:
        output = error.hint
    # progress messages are before and after the JSON
    problems = orjson.loads(output[output.index("{") : output.rindex("}") + 1])["problems"]
    return [f"{problem['ruleId']} {problem['location'][0]['pointer']}" for problem in problems]


def spectral(document: Path, folder: Path) -> list[str]:
    rules = folder / "rules.yaml"
    rules.write_text('extends: ["spectral:oas"]\n')
    report = folder / "report.json"
    program = npm_packages() / ".bin" / "spectral"
    options = ("--ruleset", rules, "--format", "json", "--output", report, "--fail-severity", "hint")
    try:
        run(program, "lint", document, *options, cwd=folder)
    except ProgramFailed:
        assert report.exists()
    return [f"{problem['code']} {'/'.join(problem['path'])}" for problem in orjson.loads(report.read_bytes())]


def test_redocly_finds_no_violation(tmp_path: Path) -> None:
    # pyproject.toml names no licence, so the document has none
    assert redocly(DOCUMENT, tmp_path) == ["info-license #/info"]


def test_spectral_finds_no_violation(tmp_path: Path) -> None:
    assert spectral(DOCUMENT, tmp_path) == []


def test_both_linters_report_a_violation(tmp_path: Path) -> None:
    whole = orjson.loads(DOCUMENT.read_bytes())
    del whole["info"]["contact"]
    # its head alone: Spectral takes seconds for the whole
    document = {name: whole[name] for name in ("openapi", "info", "servers")} | {"paths": {}}
    invalid = tmp_path / "invalid.json"
    invalid.write_bytes(orjson.dumps(document))
    assert redocly(invalid, tmp_path) == ["info-license #/info"]
    assert spectral(invalid, tmp_path) == ["info-contact info"]
