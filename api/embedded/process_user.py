"""Who runs the servers: PostgreSQL refuses root, so as root they run as the unprivileged user of the system."""

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
    """The user and group that a server runs as; None for both: who we are."""

    uid: int | None
    gid: int | None

    def name(self) -> str:
        """The user's name."""
        return pwd.getpwuid(os.geteuid() if self.uid is None else self.uid).pw_name

    def owns(self, folder: Path) -> None:
        """Makes the user the owner of a folder of ours."""
        if self.uid is not None and self.gid is not None:
            os.chown(folder, self.uid, self.gid)

    def can_reach(self, path: Path) -> bool:
        """Whether the user gets to `path` through all of its parent folders, with the rights that they have."""
        if self.uid is None:
            return True
        return all(_lets_through(parent, self.uid, self.gid) for parent in path.absolute().parents)


def process_user() -> ProcessUser:
    """Ourselves; as root, `nobody`.

    Raises:
        ServerError: we are root, and the system has no such user.
    """
    if os.geteuid() != 0:
        return ProcessUser(None, None)
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise ServerError(
            f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED} to run it as",
            hint="Run mailmart as another user, or set MAILMART_DATABASE_URL to a server of your own.",
        ) from None
    return ProcessUser(entry.pw_uid, entry.pw_gid)


def _lets_through(folder: Path, uid: int, gid: int | None) -> bool:
    try:
        status = folder.stat()
    except FileNotFoundError:
        return True
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
