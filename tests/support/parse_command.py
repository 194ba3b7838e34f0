"""The dbt command that parses a project for any database; without importing dbt."""

from __future__ import annotations

from pathlib import Path

from api.dbt.installed_parse import OFFLINE

MANIFEST = "manifest.json"

# the static parser starts threads, whose locks a fork would copy
PARSE = ("--quiet", "--no-static-parser", "parse", "--no-partial-parse")


def parse_arguments(folder: Path) -> list[str]:
    """The dbt command line that leaves the parse in the folder, which has the profiles."""
    return [*PARSE, "--profiles-dir", str(folder), "--target-path", str(folder), "--log-path", str(folder)]


def parse_environment() -> dict[str, str]:
    """What the profiles read. No database is needed."""
    connection = {f"MAILMART_DBT_{name.upper()}": str(value) for name, value in OFFLINE.items()}
    return {**connection, "MAILMART_DBT_PASSWORD": "none", "MAILMART_DBT_TARGET": "production"}
