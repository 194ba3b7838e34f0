"""What the environment says, read once at the start of a process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from api.errors import SettingsError

PROJECT_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """Settings of one process.

    Attributes:
        database_url: MAILMART_DATABASE_URL, a libpq URL of any login that is a member of the roles mailmart_*; None: the
            embedded server's.
        redis_url: MAILMART_REDIS_URL; None: the embedded server's.
        home: MAILMART_HOME, the folder of the embedded servers and what belongs to this installation.
        host: MAILMART_HOST, the address that the API listens at.
        port: MAILMART_PORT.
        target: MAILMART_TARGET, the warehouse that is served: `production`, or a developer's schema prefix.
        project_root: the folder with dbt_project.yml.
    """

    database_url: str | None
    redis_url: str | None
    home: Path
    host: str = "127.0.0.1"
    port: int = 8080
    target: str = "production"
    project_root: Path = PROJECT_ROOT

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Reads the settings.

        Raises:
            SettingsError: one of them cannot be used.
        """
        return cls(
            database_url=environ.get("MAILMART_DATABASE_URL") or None,
            redis_url=environ.get("MAILMART_REDIS_URL") or None,
            home=Path(environ.get("MAILMART_HOME") or PROJECT_ROOT / ".mailmart").absolute(),
            host=environ.get("MAILMART_HOST") or "127.0.0.1",
            port=_port(environ.get("MAILMART_PORT") or "8080"),
            target=environ.get("MAILMART_TARGET") or "production",
        )


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise SettingsError(f"MAILMART_PORT is {text!r}", hint="Set it to a port number, such as 8080.")
    return port
