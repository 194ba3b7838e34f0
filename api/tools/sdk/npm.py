"""The npm packages of package-lock.json, installed once below build/."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from pathlib import Path

from api.settings import PROJECT_ROOT
from api.tools.sdk.programs import require, run

LOCKED = ("package.json", "package-lock.json", ".npmrc")
HERE = Path(__file__).parent


def npm_packages(folder: Path = PROJECT_ROOT / "build" / "npm", source: Path = HERE) -> Path:
    """The folder node_modules of the packages that `source` pins. The network is used only if they are not installed yet.

    Raises:
        ProgramMissing: npm is not installed.
        ProgramFailed: npm cannot install them.
    """
    wanted = hashlib.sha256(b"".join((source / name).read_bytes() for name in LOCKED)).hexdigest()
    installed = folder / "installed"
    folder.mkdir(parents=True, exist_ok=True)
    # several test processes may install them at the same time
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_text() != wanted:
            require(["npm"])
            installed.unlink(missing_ok=True)
            for name in LOCKED:
                shutil.copy(source / name, folder / name)
            run("npm", "ci", "--no-progress", cwd=folder)
            installed.write_text(wanted)
    return folder / "node_modules"


if __name__ == "__main__":
    npm_packages()
