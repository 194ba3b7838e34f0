"""Each SDK calls every operation of the document against the running service, from a small, strictly typed program."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from api.settings import PROJECT_ROOT
from api.tools.sdk.generators import GENERATORS, generate
from api.tools.sdk.npm import npm_packages
from api.tools.sdk.programs import run
from tests.integration.api.example import CAMPAIGN, WORKSPACE
from tests.integration.api.sdk.needs import needs
from tests.integration.api.sdk.recorder import Recorder

PROGRAMS = Path(__file__).parent / "programs"
# on a fresh clone, npm packages are installed first
pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs(*GENERATORS[name].programs)) for name in ("python", "openapi-python-client")]
)
def test_python(name: str, recorder: Recorder, key: str, tmp_path: Path) -> None:
    _generate(name, tmp_path)
    program = shutil.copy(PROGRAMS / f"{name.replace('-', '_')}.py", tmp_path / "program.py")
    shutil.move(tmp_path / "sdk" / "mailmart_client", tmp_path)
    # the generators' runtime code is not strictly typed; their models and the program are
    checked = ("program.py", _example(tmp_path, "python", "readme.py"), "mailmart_client/models")
    run(sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", *checked, cwd=tmp_path)
    run(sys.executable, program, recorder.address, key, WORKSPACE, CAMPAIGN, cwd=tmp_path)
    assert recorder.called == recorder.operations


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=needs("node", "npm", *GENERATORS[name].programs))
        for name in ("typescript-fetch", "openapi-typescript")
    ],
)
def test_typescript(name: str, recorder: Recorder, key: str, tmp_path: Path) -> None:
    _generate(name, tmp_path)
    packages = npm_packages()
    compiler = packages / ".bin" / "tsc"
    if (tmp_path / "sdk" / "tsconfig.json").exists():
        run(compiler, cwd=tmp_path / "sdk")
    # as if the package were installed
    installed = tmp_path / "node_modules"
    installed.mkdir()
    for package in ("openapi-fetch", "@types"):
        (installed / package).symlink_to(packages / package)
    (installed / "mailmart-client").symlink_to(tmp_path / "sdk")
    program = shutil.copy(PROGRAMS / f"{name.replace('-', '_')}.ts", tmp_path / "program.mts")
    strict = ("--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes")
    sources = (program, _example(tmp_path, "ts", "readme.mts"))
    run(compiler, *strict, "--module", "nodenext", "--target", "es2022", "--types", "node", *sources, cwd=tmp_path)
    run("node", "program.mjs", recorder.address, key, WORKSPACE, CAMPAIGN, cwd=tmp_path)
    assert recorder.called == recorder.operations


def _generate(name: str, folder: Path) -> None:
    generate(name, PROJECT_ROOT / "openapi.json", folder / "sdk")


def _example(folder: Path, language: str, name: str) -> str:
    """Writes the code example of the SDK's README to a file of this name."""
    (code,) = re.findall(rf"```{language}\n(.*?)```", (folder / "sdk" / "README.md").read_text(), re.DOTALL)
    (folder / name).write_text(code)
    return name
