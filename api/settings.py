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
        pool_size: MAILMART_POOL_SIZE, connections to PostgreSQL of one process of the API.
        pool_timeout_seconds: how long a request waits for one of them.
        query_timeout_seconds: MAILMART_QUERY_TIMEOUT, how long a request's statement may take.
        target: MAILMART_TARGET, the warehouse that is served: `production`, or a developer's schema prefix.
        project_root: the folder with dbt_project.yml.
    """

    database_url: str | None
    redis_url: str | None
    home: Path
    host: str = "127.0.0.1"
    port: int = 8080
    pool_size: int = 8
    pool_timeout_seconds: float = 3.0
    query_timeout_seconds: int = 10
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
            port=_number(environ, "MAILMART_PORT", 8080, 0, 65535),
            pool_size=_number(environ, "MAILMART_POOL_SIZE", 8, 1, 1000),
            query_timeout_seconds=_number(environ, "MAILMART_QUERY_TIMEOUT", 10, 1, 3600),
            target=environ.get("MAILMART_TARGET") or "production",
        )


def _number(environ: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise SettingsError(f"{name} is {text!r}", hint=f"Set it to a whole number from {least} to {most}.")
    return int(text)
