"""What dbt parses of the project, once for each state of its files, and kept below build/: its manifest and its partial parse."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from api.settings import PROJECT_ROOT
from tests.support.parse_command import MANIFEST, parse_arguments, parse_environment

FOLDER = PROJECT_ROOT / "build" / "parsed"
# besides the project's files: a manifest depends on dbt's release
PARTS = ("dbt_project.yml", "profiles.yml.example", "requirements.lock", "macros", "models", "seeds", "tests/dbt", "api/dbt")


def project_manifest() -> dict[str, Any]:
    """The manifest of the project's files as they are now."""
    manifest: dict[str, Any] = orjson.loads((project_parse() / MANIFEST).read_bytes())
    return manifest


def project_parse() -> Path:
    """The folder of dbt's partial parse of the project's files as they are now."""
    return parsed_project(_parse)


def parse_log() -> str:
    """dbt's log file of that parse, with its warnings."""
    return (project_parse() / "dbt.log").read_text()


def parsed_project(parse: Callable[[Path], None]) -> Path:
    """The folder of what `parse` wrote of the project's files as they are now. It is called with a new folder, in one process."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    parsed = FOLDER / _hash()
    with (FOLDER / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not parsed.exists():
            for outdated in FOLDER.iterdir():
                if outdated.is_dir():
                    shutil.rmtree(outdated)
            unfinished = FOLDER / "unfinished"
            unfinished.mkdir()
            shutil.copyfile(PROJECT_ROOT / "profiles.yml.example", unfinished / "profiles.yml")
            parse(unfinished)
            unfinished.rename(parsed)
    return parsed


def _parse(folder: Path) -> None:
    # not that of a server of forked processes, which waits for this parse
    command = [sys.executable, "-c", "from dbt.cli.main import cli; cli(prog_name='dbt')", *parse_arguments(folder)]
    environment = {**os.environ, **parse_environment()}
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"dbt cannot parse the project:\n{done.stdout}\n{done.stderr}"


def _hash() -> str:
    digest = hashlib.sha256()
    for part in PARTS:
        path = PROJECT_ROOT / part
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                digest.update(str(file.relative_to(PROJECT_ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
