"""Programs that this project does not bring along: which of them are missing, and where the others are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from api.errors import MailmartError

WHAT_FOR = {
    "java": "Java 11 or later",
    "node": "Node 18.17 or later",
    "npm": "beside Node",
    "openapi-generator-cli": "of the Python requirements",
    "openapi-python-client": "of the Python requirements",
}
HINT = "On Debian: apt-get install nodejs npm openjdk-17-jre-headless. The Python requirements: make install-dev."


class ProgramMissing(MailmartError):
    """A program that something needs is not on this machine."""


class ProgramFailed(MailmartError):
    """A program ended with an error; its last words are the hint."""

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}"


def missing(names: Iterable[str]) -> list[str]:
    """Those of the programs that are not there, each once."""
    return [name for name in dict.fromkeys(names) if shutil.which(name, path=_path()) is None]


def need(names: Iterable[str]) -> None:
    """Goes on if all of them are there.

    Raises:
        ProgramMissing: names all that are not, in one line.
    """
    gone = missing(names)
    if gone:
        listed = ", ".join(f"{name} ({WHAT_FOR[name]})" for name in gone)
        raise ProgramMissing(f"not on this machine: {listed}", hint=HINT)


def run(program: str | Path, *arguments: str | Path, cwd: Path) -> str:
    """What the program printed.

    Raises:
        ProgramFailed: its exit status is not 0.
    """
    found = shutil.which(program, path=_path()) or str(program)
    completed = subprocess.run(
        [found, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PATH": _path()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if completed.returncode != 0:
        raise ProgramFailed(f"{Path(program).name} failed", hint=completed.stdout[-4000:].strip())
    return completed.stdout


def _path() -> str:
    # the environment's own programs first, active or not
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
