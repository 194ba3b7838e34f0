"""External programs of the SDK generators: finds, checks and runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from api.errors import MailmartError

VERSIONS = {
    "java": "Java 11 or later",
    "node": "Node 18.17 or later",
    "npm": "part of Node",
    "openapi-generator-cli": "from the Python requirements",
    "openapi-python-client": "from the Python requirements",
}
HINT = "On Debian: apt-get install nodejs npm openjdk-17-jre-headless. The Python requirements: make install-dev."


class ProgramMissing(MailmartError):
    """A required program is not installed."""


class ProgramFailed(MailmartError):
    """A program failed; the hint is the end of its output."""

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}"


def missing(names: Iterable[str]) -> list[str]:
    """The programs that are not installed, each once."""
    return [name for name in dict.fromkeys(names) if shutil.which(name, path=_path()) is None]


def require(names: Iterable[str]) -> None:
    """Checks that all of the programs are installed.

    Raises:
        ProgramMissing: some are not; the message names all of them.
    """
    not_installed = missing(names)
    if not_installed:
        listed = ", ".join(f"{name} ({VERSIONS[name]})" for name in not_installed)
        raise ProgramMissing(f"not installed: {listed}", hint=HINT)


def run(program: str | Path, *arguments: str | Path, cwd: Path) -> str:
    """Runs a program and returns its output.

    Raises:
        ProgramFailed: its exit status is not 0.
    """
    path = shutil.which(program, path=_path()) or str(program)
    completed = subprocess.run(
        [path, *map(str, arguments)],
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
    # the programs of this virtual environment first, even if it is not activated
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
