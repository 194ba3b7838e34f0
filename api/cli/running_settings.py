"""The settings of a running `mailmart run` or `mailmart demo`, in a file of its home folder, for commands in another terminal.

The file counts only while the process runs that wrote it: that one holds a lock on it, which the system releases however the
process ends. So what a killed one has left is ignored.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from api.cli.env_file import Variable, quoted, read_env_file
from api.errors import HomeNotWritable
from api.processes.stack import program_environment
from api.settings import ENV_FILE, PATHS, SERVICES, Settings, env_vars

NAME = "running.env"
ATTEMPTS = 5
HINT = "Run the command as the user who runs `mailmart run`, or set MAILMART_HOME to another installation."


@dataclass(frozen=True)
class RunningSettings:
    """The file of a running installation, and its variables."""

    path: Path
    variables: Mapping[str, Variable]


@contextmanager
def running_settings(settings: Settings, environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Leaves the settings for other commands while the block runs. Only we may read the file: a URL has a password.

    Raises:
        HomeNotWritable: the home folder cannot be written.
    """
    path = settings.home / NAME
    unfinished = path.with_name(f"{NAME}.{os.getpid()}")
    try:
        unfinished.unlink(missing_ok=True)
        file = os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w")
    except OSError as error:
        raise HomeNotWritable(settings.home, error) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(
            f"# Settings of the process {os.getpid()}, for other commands while it runs. It is written anew at each start.\n"
        )
        file.writelines(f"{name}={quoted(value)}\n" for name, value in shared_variables(settings, environ).items())
        file.flush()
        unfinished.rename(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def read_running_settings(home: Path) -> RunningSettings | None:
    """The settings of the installation that runs in a home folder; None if none runs there.

    Raises:
        SettingsError: others could have written the file.
    """
    path = home / NAME
    for _ in range(ATTEMPTS):
        try:
            with path.open("rb") as file:
                is_locked = _is_locked(file.fileno())
                is_replaced = os.fstat(file.fileno()).st_ino != path.stat().st_ino
            if is_replaced:
                continue
            return RunningSettings(path, read_env_file(path, hint=HINT)) if is_locked else None
        except FileNotFoundError:
            return None
        except PermissionError:
            return _of_another_user(path)
    return None


def _of_another_user(path: Path) -> RunningSettings | None:
    """Refuses a file that we cannot read; None if the whole folder is closed to us."""
    try:
        path.stat()
    except OSError:
        return None
    return RunningSettings(path, read_env_file(path, hint=HINT))


def shared_variables(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that other commands read: those that are set, and the addresses that are in effect.

    No secret of the services, such as the password of the mail server: only the URLs of PostgreSQL and Valkey.
    """
    shared = {
        name: str(getattr(settings, field)) if name in PATHS else environ[name]
        for name, field, env_var in env_vars()
        if environ.get(name) and set(env_var.read_by) - SERVICES
    }
    shared |= program_environment(settings)
    # the file is in the home folder, and is no .env
    return {name: value for name, value in shared.items() if name not in ("MAILMART_HOME", ENV_FILE)}


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
