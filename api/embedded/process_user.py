"""The user who runs the servers. PostgreSQL refuses to run as root: as root, the servers run as `nobody`."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from api.errors import ServerError

UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class ProcessUser:
    """User and group that a server runs as; both None: our own."""

    uid: int | None
    gid: int | None

    def name(self) -> str:
        """The user's name."""
        return pwd.getpwuid(os.geteuid() if self.uid is None else self.uid).pw_name

    def take_ownership(self, path: Path) -> None:
        """Makes the user the owner of a file or folder."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def can_reach(self, path: Path) -> bool:
        """Whether the user may enter all parent folders of `path`, with their present rights."""
        if self.uid is None:
            return True
        return all(_may_enter(parent, self.uid, self.gid) for parent in path.absolute().parents)


def process_user() -> ProcessUser:
    """Our own user; for root, `nobody`.

    Raises:
        ServerError: we are root, and the system has no user `nobody`.
    """
    if os.geteuid() != 0:
        return ProcessUser(None, None)
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise ServerError(
            f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED} to run it as",
            hint="Run mailmart as another user, or set MAILMART_DATABASE_URL to your own server.",
        ) from None
    return ProcessUser(entry.pw_uid, entry.pw_gid)


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
