"""Each SDK calls every operation of the document against the running service, from a small, strictly typed program."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from api.settings import PROJECT_ROOT
from api.tools.sdk.generators import FILES, GENERATORS, SHARED, generate
from api.tools.sdk.npm import npm_packages
from api.tools.sdk.programs import run
from tests.integration.api.example import CAMPAIGN, WORKSPACE
from tests.integration.api.sdk.needs import needs
from tests.integration.api.sdk.recorder import Recorder

PROGRAMS = Path(__file__).parent / "programs"
# on a fresh clone, npm packages are installed first
pytestmark = pytest.mark.timeout(900)
# what mypy knows of the standard library and of other packages is the same for both SDKs
MYPY_CACHE = PROJECT_ROOT / "build" / "mypy-sdk"
# a program that runs for seconds is slowed down by the compiler that long-running ones need
FAST_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs run where midnight UTC is the day before."""
    monkeypatch.setenv("TZ", "America/New_York")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", FAST_START)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs(*GENERATORS[name].programs)) for name in ("python", "openapi-python-client")]
)
def test_python(name: str, recorder: Recorder, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _generate(name, tmp_path)
    program = shutil.copy(PROGRAMS / f"{name.replace('-', '_')}.py", tmp_path / "program.py")
    shutil.move(tmp_path / "sdk" / "mailmart_client", tmp_path)
    # the generators' runtime code is not strictly typed; their models, our own files and the program are
    ours = [str(path.relative_to(FILES / part)) for part in (name, SHARED[name]) for path in (FILES / part).rglob("*.py")]
    checked = ("program.py", *_examples(tmp_path, "python", ".py"), "mailmart_client/models", *ours)
    options = ("--strict", "--follow-imports=silent", "--cache-dir", str(MYPY_CACHE))
    run(sys.executable, "-m", "mypy", *options, *checked, cwd=tmp_path)
    recorder.has_faults = True
    run(sys.executable, program, recorder.address, key, WORKSPACE, CAMPAIGN, cwd=tmp_path)
    assert recorder.called == recorder.operations
    _configure(monkeypatch, recorder, key)
    output = run(sys.executable, "readme0.py", cwd=tmp_path)
    assert "CAMPAIGN_NOT_FOUND {}" in output
    assert (tmp_path / "overview.csv").exists()
    if name == "python":
        reference = tmp_path / "sdk" / "REFERENCE.md"
        check = shutil.copy(PROGRAMS / "python_reference.py", tmp_path)
        run(sys.executable, check, reference, str(len(recorder.operations)), cwd=tmp_path)
    else:
        assert "exports" in run(sys.executable, "readme1.py", cwd=tmp_path)
    # by the star, too
    exported = "from mailmart_client import *; print(ApiError, Client, pages)"
    run(sys.executable, "-c", exported, cwd=tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=needs("node", "npm", *GENERATORS[name].programs))
        for name in ("typescript-fetch", "openapi-typescript")
    ],
)
def test_typescript(name: str, recorder: Recorder, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _generate(name, tmp_path)
    # as a stranger installs it: the folder is linked, and nothing is compiled
    program = shutil.copy(PROGRAMS / f"{name.replace('-', '_')}.ts", tmp_path / "program.mts")
    (tmp_path / "package.json").write_text('{"name": "program", "version": "1.0.0", "type": "commonjs"}')
    run("npm", "install", "--offline", "--no-audit", "--no-fund", "./sdk", cwd=tmp_path)
    packages = npm_packages()
    for package in ("openapi-fetch", "openapi-typescript-helpers", "@types"):
        (tmp_path / "node_modules" / package).symlink_to(packages / package)
    strict = ("--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes")
    sources = (program, *_examples(tmp_path, "ts", ".mts"))
    # all but the declarations of TypeScript itself is checked
    options = (*strict, "--skipDefaultLibCheck", "--module", "nodenext", "--target", "es2022", "--types", "node")
    run(packages / ".bin" / "tsc", *options, *sources, cwd=tmp_path)
    recorder.has_faults = True
    run("node", "program.mjs", recorder.address, key, WORKSPACE, CAMPAIGN, cwd=tmp_path)
    assert recorder.called == recorder.operations
    _configure(monkeypatch, recorder, key)
    assert "CAMPAIGN_NOT_FOUND {}" in run("node", "readme0.mjs", cwd=tmp_path)
    assert (tmp_path / "overview.csv").exists()


def _generate(name: str, folder: Path) -> None:
    generate(name, PROJECT_ROOT / "openapi.json", folder / "sdk")


def _configure(monkeypatch: pytest.MonkeyPatch, recorder: Recorder, key: str) -> None:
    """What the README says to set before its first program."""
    monkeypatch.setenv("MAILMART_URL", recorder.address)
    monkeypatch.setenv("MAILMART_KEY", key)


def _examples(folder: Path, language: str, suffix: str) -> list[str]:
    """Writes the code examples of the SDK's README, for the workspace of the tests, to files of their own."""
    examples = re.findall(rf"```{language}\n(.*?)```", (folder / "sdk" / "README.md").read_text(), re.DOTALL)
    assert examples
    names = [f"readme{number}{suffix}" for number in range(len(examples))]
    for name, code in zip(names, examples, strict=True):
        (folder / name).write_text(code.replace("ws_demo_1", WORKSPACE))
    return names
