"""Starts and stops both embedded servers, under a lock of the home folder: a second process waits."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from api.embedded import postgres, valkey
from api.embedded.paths import Folders, find_folders, has_servers, take_over
from api.errors import HomeNotWritable
from api.settings import Settings


@dataclass(frozen=True)
class Changed:
    """The servers that this call started or stopped. False: it was in that state already, or it is not an embedded one."""

    postgres: bool
    valkey: bool


def start(settings: Settings) -> Changed:
    """Starts the servers for which the settings have no URL.

    Raises:
        ServerError: a server does not start.
    """
    needs_postgres, needs_valkey = settings.database_url is None, settings.redis_url is None
    if not (needs_postgres or needs_valkey):
        return Changed(False, False)
    with _locked(settings.home):
        folders = _folders(settings)
        if folders.user != folders.next_user:
            valkey.stop(folders)
            postgres.stop(folders)
            take_over(folders)
            folders = _folders(settings)
        started = Changed(needs_postgres and not postgres.is_running(folders), needs_valkey and not valkey.is_running(folders))
        if needs_postgres:
            postgres.start(folders, port=settings.postgres_port)
        if needs_valkey:
            valkey.start(folders)
    return started


def not_running(settings: Settings) -> list[str]:
    """Names of the embedded servers that should run and do not."""
    with _locked(settings.home):
        folders = _folders(settings)
        names = []
        if settings.database_url is None and not postgres.is_running(folders):
            names.append("PostgreSQL")
        if settings.redis_url is None and not valkey.is_running(folders):
            names.append("Valkey")
        return names


def any_running(settings: Settings) -> bool:
    """Whether one of the embedded servers runs."""
    if not has_servers(settings.home):
        return False
    with _locked(settings.home):
        folders = _folders(settings)
        return postgres.is_running(folders) or valkey.is_running(folders)


def stop(settings: Settings) -> Changed:
    """Stops the embedded servers that run."""
    if not has_servers(settings.home):
        return Changed(False, False)
    with _locked(settings.home):
        folders = _folders(settings)
        return Changed(valkey=valkey.stop(folders), postgres=postgres.stop(folders))


def _folders(settings: Settings) -> Folders:
    return find_folders(settings.home, settings.server_user)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        file = (home / "lock").open("a")
    except OSError as error:
        raise HomeNotWritable(home, error) from error
    # the system releases the lock when its process ends: it never becomes stale
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
