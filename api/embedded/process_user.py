"""The user who runs the servers.

PostgreSQL refuses to run as root. As root, the servers run as a system user of their own: the data would be open to all other
programs of a shared user such as `nobody`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from api.errors import ServerError
from api.settings import SERVER_USER

# earlier releases ran the servers as this user
FORMER_USER = "nobody"
SHARED_USERS = frozenset({"root", "nobody"})
USERADD_ATTEMPTS = 20
USERADD_RETRY_SECONDS = 0.25
NO_USER_HINT = (
    "Create a system user and name it in MAILMART_SERVER_USER, run mailmart as another user than root,"
    " or set MAILMART_DATABASE_URL and MAILMART_REDIS_URL to your own servers."
)


@dataclass(frozen=True)
class ProcessUser:
    """User and group that a server runs as; both None: our own."""

    uid: int | None
    gid: int | None

    def name(self) -> str:
        """The user's name."""
        return pwd.getpwuid(os.geteuid() if self.uid is None else self.uid).pw_name

    def owns(self, path: Path) -> bool:
        """Whether a file or folder is the user's."""
        return path.stat().st_uid == (os.geteuid() if self.uid is None else self.uid)

    def take_ownership(self, path: Path) -> None:
        """Makes the user the owner of a file or folder."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def chown_tree(self, folder: Path, former: ProcessUser) -> None:
        """Makes the user the owner of a folder and of everything in it that is the former owner's.

        The former owner can replace files until the folder itself is closed to it: no link is followed, and what belongs to
        somebody else stays theirs.
        """
        if self.uid is None or self.gid is None:
            return
        for _, folders, files, descriptor in os.fwalk(folder, follow_symlinks=False):
            if os.fstat(descriptor).st_uid == former.uid:
                os.fchown(descriptor, self.uid, self.gid)
            for name in (*files, *folders):
                if os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_uid == former.uid:
                    os.chown(name, self.uid, self.gid, dir_fd=descriptor, follow_symlinks=False)

    def can_reach(self, path: Path) -> bool:
        """Whether the user may enter all parent folders of `path`, with their present rights."""
        if self.uid is None:
            return True
        return all(_may_enter(parent, self.uid, self.gid) for parent in path.absolute().parents)


def process_user(name: str = SERVER_USER) -> ProcessUser:
    """Our own user; for root, the user with this name. The default user is created if it is missing.

    Raises:
        ServerError: we are root, and there is no user for the servers.
    """
    if os.geteuid() != 0:
        return ProcessUser(None, None)
    entry = _find(name)
    if entry is None and name == SERVER_USER:
        entry = _create(name)
    if entry is None:
        raise ServerError(f"MAILMART_SERVER_USER is {name!r}, and this system has no such user", hint=NO_USER_HINT)
    if name in SHARED_USERS or entry.pw_uid == 0:
        raise ServerError(
            f"the embedded servers cannot run as {name}, whose other programs could read the data",
            hint="Unset MAILMART_SERVER_USER, or set it to a user who runs nothing else.",
        )
    return ProcessUser(entry.pw_uid, entry.pw_gid)


def former_user() -> ProcessUser | None:
    """As root, the user who ran the servers of earlier releases."""
    entry = _find(FORMER_USER)
    return None if os.geteuid() != 0 or entry is None else ProcessUser(entry.pw_uid, entry.pw_gid)


def _find(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _create(name: str) -> pwd.struct_passwd:
    """Creates a system user without a login and without a home folder. Another process may do the same at this moment."""
    useradd = shutil.which("useradd") or shutil.which("useradd", path="/usr/sbin:/sbin")
    problem = "the system has no program useradd"
    for _ in range(USERADD_ATTEMPTS if useradd is not None else 0):
        done = subprocess.run(
            [
                *(str(useradd), "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"),
                *("--shell", "/usr/sbin/nologin", "--comment", "embedded servers of mailmart", name),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        entry = _find(name)
        if entry is not None:
            return entry
        problem = " / ".join(done.stderr.strip().splitlines()[-2:])
        if "lock" not in problem:
            break
        time.sleep(USERADD_RETRY_SECONDS)
    raise ServerError(
        f"PostgreSQL does not run as root, and the system user {name} cannot be created to run it: {problem}", hint=NO_USER_HINT
    )


def _may_enter(folder: Path, uid: int, gid: int | None) -> bool:
    try:
        status = folder.stat()
    except FileNotFoundError:
        return True
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
