"""Both embedded servers together. Who starts or stops holds the home folder's lock; a second one waits, and finds it done."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from api.embedded import postgres, valkey
from api.embedded.paths import find_folders, has_servers
from api.errors import ServerError
from api.settings import Settings


@dataclass(frozen=True)
class Started:
    """Which servers were started just now, as against found running or not ours."""

    postgres: bool
    valkey: bool


def start(settings: Settings) -> Started:
    """Starts what the settings do not bring themselves.

    Raises:
        ServerError: a server does not start.
    """
    wants_postgres, wants_valkey = settings.database_url is None, settings.redis_url is None
    if not (wants_postgres or wants_valkey):
        return Started(False, False)
    with _locked(settings.home):
        folders = find_folders(settings.home)
        started = Started(wants_postgres and not postgres.is_running(folders), wants_valkey and not valkey.is_running(folders))
        if wants_postgres:
            postgres.start(folders)
        if wants_valkey:
            valkey.start(folders)
    return started


def missing(settings: Settings) -> list[str]:
    """The names of those that the settings do not bring themselves, and that do not run."""
    with _locked(settings.home):
        folders = find_folders(settings.home)
        found = []
        if settings.database_url is None and not postgres.is_running(folders):
            found.append("PostgreSQL")
        if settings.redis_url is None and not valkey.is_running(folders):
            found.append("Valkey")
        return found


def are_running(settings: Settings) -> bool:
    """Whether one of ours runs."""
    if not has_servers(settings.home):
        return False
    with _locked(settings.home):
        folders = find_folders(settings.home)
        return postgres.is_running(folders) or valkey.is_running(folders)


def stop(settings: Settings) -> Started:
    """Stops what runs of ours, and says which."""
    if not has_servers(settings.home):
        return Started(False, False)
    with _locked(settings.home):
        folders = find_folders(settings.home)
        return Started(valkey=valkey.stop(folders), postgres=postgres.stop(folders))


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        file = (home / "lock").open("a")
    except OSError as error:
        raise ServerError(f"cannot write to {home}: {error.strerror}", hint="Set MAILMART_HOME to a folder of yours.") from error
    # the system lets go of it when its principal dies, so there is no stale lock
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
