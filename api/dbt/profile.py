"""The environment that dbt needs to find the project and its database."""

from __future__ import annotations

import shutil

from psycopg.conninfo import conninfo_to_dict

from api.db.connection import conninfo
from api.settings import Settings


def dbt_environment(settings: Settings) -> dict[str, str]:
    """The environment variables that dbt and profiles.yml read. Copies profiles.yml.example into the home folder.

    Raises:
        SettingsError: no database is configured.
    """
    profiles = settings.home / "profiles.yml"
    settings.home.mkdir(parents=True, exist_ok=True)
    example = settings.project_root / "profiles.yml.example"
    if not profiles.exists() or profiles.read_bytes() != example.read_bytes():
        shutil.copyfile(example, profiles)
    database = conninfo_to_dict(conninfo(settings, None))
    return {
        "DO_NOT_TRACK": "1",
        "DBT_PROFILES_DIR": str(settings.home),
        "DBT_PROJECT_DIR": str(settings.project_root),
        "MAILMART_DBT_HOST": str(database.get("host") or "localhost"),
        "MAILMART_DBT_PORT": str(database.get("port") or 5432),
        "MAILMART_DBT_USER": str(database.get("user") or ""),
        "MAILMART_DBT_PASSWORD": str(database.get("password") or ""),
        "MAILMART_DBT_DATABASE": str(database.get("dbname") or database.get("user") or ""),
        "MAILMART_DBT_SSLMODE": str(database.get("sslmode") or "prefer"),
    }
