"""The npm packages of package-lock.json, installed once below build/."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from pathlib import Path

from api.settings import PROJECT_ROOT
from api.tools.sdk.programs import need, run

LOCKED = ("package.json", "package-lock.json", ".npmrc")
HERE = Path(__file__).parent


def npm_packages(folder: Path = PROJECT_ROOT / "build" / "npm") -> Path:
    """The folder node_modules of the pinned packages; the network is asked only where they are not yet there.

    Raises:
        ProgramMissing: there is no npm.
        ProgramFailed: they cannot be installed.
    """
    wanted = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in LOCKED)).hexdigest()
    installed = folder / "installed"
    folder.mkdir(parents=True, exist_ok=True)
    # two test processes may want them at the same time
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_text() != wanted:
            need(["npm"])
            installed.unlink(missing_ok=True)
            for name in LOCKED:
                shutil.copy(HERE / name, folder / name)
            run("npm", "ci", "--no-progress", cwd=folder)
            installed.write_text(wanted)
    return folder / "node_modules"


if __name__ == "__main__":
    npm_packages()
