"""A server on Node.js that a benchmark compares the service with: npm installs it into a folder, and it runs as a process."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from api.db.connection import conninfo
from api.errors import MailmartError
from api.settings import Settings

INSTALL_TIMEOUT_SECONDS = 300


def is_available() -> bool:
    """Whether npm and node are installed."""
    return shutil.which("npm") is not None and shutil.which("node") is not None


def install(folder: Path, *packages: str) -> Path:
    """Installs packages into a new folder, without their install scripts, and returns the folder of their programs.

    Raises:
        MailmartError: npm fails.
    """
    folder.mkdir()
    names = ", ".join(packages)
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), *packages]
    try:
        completed = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MailmartError(f"npm did not install {names} within {INSTALL_TIMEOUT_SECONDS} s") from error
    if completed.returncode != 0:
        raise MailmartError(f"npm cannot install {names}", hint=completed.stderr.strip()[-2000:])
    return folder / "node_modules" / ".bin"


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program, and ends it after the block."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment, "NODE_ENV": "production"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def connection_environment(scratch: Settings, context: Mapping[str, str]) -> dict[str, str]:
    """Variables with which libpq and Node's driver connect as the API does, with the settings of a request from the start."""
    params = conninfo_to_dict(conninfo(scratch, "mailmart_api"))
    variables = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    environment = {variable: str(params[name]) for name, variable in variables.items() if params.get(name) is not None}
    options = [
        str(params.get("options") or ""),
        "-c role=mailmart_api",
        *(f"-c {name}={value}" for name, value in context.items()),
    ]
    return {**environment, "PGOPTIONS": " ".join(options).strip()}
