"""The tutorials, followed by the letter on a copy of the project: every edit is made and every command line is run."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.settings import PROJECT_ROOT
from tests.lint.documentation import blocks, command_lines, edit, pages, project_files, tutorials
from tests.support.forked_dbt import forked_dbt_command, mailmart_command

METRIC, ENDPOINT = "docs/tutorial/first-metric.md", "docs/tutorial/first-endpoint.md"
# page → what is in the OpenAPI document after it; the second metric of a page is published on the next one
IN_OPENAPI = {METRIC: ["human_open_share"], ENDPOINT: ["human_open_share", "emails_deferred", "RecipientDomain"]}
SECOND_TERMINAL = "second terminal"
FIRST_DBT = "dbt build"
PROLOGUE = """set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT
source .venv/bin/activate
"""
WAIT_FOR_SERVER = "for _ in $(seq 240); do curl -sf http://127.0.0.1:{port}/readyz >/dev/null && break; sleep 0.5; done"


@pytest.fixture
def project() -> Iterator[Path]:
    """A copy of the project that uses this environment, with a home folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="mailmart-tutorial-"))
    # as root the database runs as somebody else, who has to get through to its data
    folder.chmod(0o755)
    copy = folder / "mailmart"
    for name in sorted(project_files()):
        if (PROJECT_ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT_ROOT / name, copy / name)
    (copy / ".venv").symlink_to(PROJECT_ROOT / ".venv")
    yield copy
    subprocess.run([".venv/bin/mailmart", "down"], cwd=copy, env=_environment(copy), check=False)
    shutil.rmtree(folder, ignore_errors=True)


def test_a_metric_of_existing_counts_changes_four_files() -> None:
    first_part = pages()[METRIC].partition("## A metric from a new measure")[0]
    edited = {block.title for block in blocks(METRIC) if block.language == "diff" and block.text in first_part}
    assert len(edited) == 4


def test_every_tutorial_is_followed_in_the_order_of_its_next_links() -> None:
    assert tutorials()[1:] == [METRIC, ENDPOINT]
    assert set(tutorials()) == {page for page in pages() if page.startswith("docs/tutorial/")}


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.skipif(not (PROJECT_ROOT / ".venv" / "bin" / "activate").exists(), reason="needs the environment that make installs")
def test_the_tutorials_work_as_written(project: Path) -> None:
    before = ""
    # the first one is make demo: tests/e2e/test_demo.py
    for page in tutorials()[1:]:
        _follow(project, page, before)
        document = (project / "openapi.json").read_text()
        assert [name for name in IN_OPENAPI[page] if name not in document] == [], page
        # what the reader of a later page still has
        before = 'eval "$(mailmart env)"'


def _follow(project: Path, page: str, before: str = "") -> None:
    port = _free_port()
    script = "\n".join([PROLOGUE, before, *_steps(project, page, port)])
    done = subprocess.run(
        ["bash", "-c", script.replace("8081", str(port))],
        cwd=project,
        env=_environment(project),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{page}:\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"


def _steps(project: Path, page: str, port: int) -> Iterator[str]:
    """The page as lines of a shell script. An edit is a call of Python; what is made by `make` is there already."""
    edits: list[tuple[str, str, str]] = []
    for block in blocks(page):
        if block.language == "sh" and block.title == SECOND_TERMINAL:
            yield "kill $(jobs -p) 2>/dev/null || true; wait || true"
            yield from (f"{line} &" for line in command_lines(block))
            yield WAIT_FOR_SERVER.format(port=port)
        elif block.language == "sh":
            lines = [line for line in command_lines(block) if not line.startswith("make ")]
            yield from (f"echo {shlex.quote('$ ' + line)}\n{_made_cheaper(page, line)}" for line in lines)
        elif block.title:
            edits.append(edit(block))
            yield f"python edit.py {len(edits) - 1}"
    (project / "edits.json").write_text(json.dumps(edits))
    (project / "edit.py").write_text(EDIT)


def _made_cheaper(page: str, line: str) -> str:
    """Less mail; no unit tests, which change nothing and which other tests run; and data tests only if the build publishes.

    What is built here without data tests is built with them on the next page, where the server needs a publication of dev.

    The first `dbt` is the reader's own. Where the others start, dbt is imported already, and the macros are parsed.
    """
    line = line.replace("--messages 20000", "--messages 2000")
    is_first = page == METRIC and line == FIRST_DBT
    if line in ("dbt build", "mailmart build"):
        line += " --exclude-resource-type unit_test"
    if page == METRIC and line.startswith("dbt build") and "--select" not in line:
        line += " --exclude-resource-type test"
    command, _, arguments = line.partition(" ")
    if command == "dbt" and not is_first:
        return f"{shlex.join(forked_dbt_command())} {arguments}"
    if line.startswith(("mailmart build", "mailmart openapi")):
        return f"{shlex.join(mailmart_command())} {arguments}"
    return line


EDIT = """
import json, pathlib, sys

name, old, new = json.loads(pathlib.Path("edits.json").read_text())[int(sys.argv[1])]
file = pathlib.Path(name)
text = file.read_text() if file.exists() else ""
if text.count(old) != 1 and old:
    sys.exit(f"{name} has {text.count(old)} times:\\n{old}")
file.write_text(text.replace(old, new) if old else new)
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(project: Path) -> dict[str, str]:
    unset = ("MAILMART_", "DBT_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    # the copy's own code, and not that of the project that the environment was installed from
    return {**inherited, "PYTHONPATH": str(project), "DO_NOT_TRACK": "1"}
