"""The environment in which dbt finds the project, its profile, the database and the target."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from api.db.connection import conninfo
from api.settings import Settings

# variables of profiles.yml.example, as the reference page describes them
PROFILE_VARIABLES = {
    "MAILMART_DBT_TARGET": "Target of plain `dbt`: `dev` (default) or `production`. `--target` overrides it.",
    "MAILMART_DBT_PREFIX": "Schema prefix of the target `dev`: `dev` by default. Developers of one database need different ones.",
    "MAILMART_DBT_HOST": "Host of PostgreSQL.",
    "MAILMART_DBT_PORT": "Port of PostgreSQL.",
    "MAILMART_DBT_USER": "Login, a member of `mailmart_owner`.",
    "MAILMART_DBT_ROLE": "Role of dbt's sessions: `mailmart_owner` by default; for an analyst's login, its own name.",
    "MAILMART_DBT_PASSWORD": "Password of the login.",
    "MAILMART_DBT_DATABASE": "Name of the database.",
    "MAILMART_DBT_SSLMODE": "`sslmode` of libpq: `prefer` by default.",
}


def dbt_environment(settings: Settings) -> dict[str, str]:
    """The variables that dbt and profiles.yml read, for the settings' target. Copies profiles.yml.example to the home folder.

    The target is always set: the target in the caller's environment, for example from `mailmart env`, must not decide what
    `mailmart build` and the scheduler publish.

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
        **_target(settings),
    }


def target_path(settings: Settings) -> str:
    """The folder of what dbt writes for a target: a subfolder of dbt's own (`target`, or DBT_TARGET_PATH).

    dbt keeps its parse of the project there, and throws it away if it is of another target. With one folder for all targets, each
    `mailmart build` after a plain `dbt build` would parse the whole project again, and the other way round.
    """
    return str(Path(os.environ.get("DBT_TARGET_PATH") or "target", settings.target))


def _target(settings: Settings) -> dict[str, str]:
    if settings.is_production:
        return {"MAILMART_DBT_TARGET": "production"}
    return {"MAILMART_DBT_TARGET": "dev", "MAILMART_DBT_PREFIX": settings.target}
