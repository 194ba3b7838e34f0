"""What two linters with opinions of their own say of the document: nothing, by the rules that they recommend."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from api.settings import PROJECT_ROOT
from api.tools.sdk.npm import npm_packages
from api.tools.sdk.programs import ProgramFailed, run
from tests.integration.api.sdk.needs import needs

# a fresh clone installs the packages first
pytestmark = [needs("node", "npm"), pytest.mark.timeout(300)]
DOCUMENT = PROJECT_ROOT / "openapi.json"


@pytest.fixture(autouse=True)
def _nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redocly would ask for its newest version and say that it was used."""
    monkeypatch.setenv("REDOCLY_TELEMETRY", "off")
    monkeypatch.setenv("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")


def redocly(document: Path, folder: Path) -> list[str]:
    """The rules that it names, and where."""
    try:
        said = run(npm_packages() / ".bin" / "redocly", "lint", "--extends=recommended", "--format=json", document, cwd=folder)
    except ProgramFailed as error:
        said = error.hint
    # what it is doing stands before and after
    problems = orjson.loads(said[said.index("{") : said.rindex("}") + 1])["problems"]
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


def test_redocly_reports_nothing(tmp_path: Path) -> None:
    assert redocly(DOCUMENT, tmp_path) == []


def test_spectral_reports_nothing(tmp_path: Path) -> None:
    assert spectral(DOCUMENT, tmp_path) == []


def test_both_report_what_is_wrong(tmp_path: Path) -> None:
    document = orjson.loads(DOCUMENT.read_bytes())
    del document["info"]["license"]
    del document["info"]["contact"]
    worse = tmp_path / "worse.json"
    worse.write_bytes(orjson.dumps(document))
    assert redocly(worse, tmp_path) == ["info-license #/info"]
    assert spectral(worse, tmp_path) == ["info-contact info"]
