"""The dbt command that parses a project for any database; without importing dbt."""

from __future__ import annotations

from pathlib import Path

FILE = "partial_parse.msgpack"
MANIFEST = "manifest.json"
# in the names of relations, with which a database's name is replaced
PLACEHOLDER = "database_of_the_parsed_project"

# the static parser starts threads, whose locks a fork would copy
PARSE = ("--quiet", "--no-static-parser", "parse", "--no-partial-parse")


def parse_arguments(folder: Path) -> list[str]:
    """The dbt command line that leaves the parse in the folder, which has the profiles."""
    return [*PARSE, "--profiles-dir", str(folder), "--target-path", str(folder), "--log-path", str(folder)]


def parse_environment() -> dict[str, str]:
    """What the profiles read. No database is needed."""
    nobody = {f"MAILMART_DBT_{name}": "nobody" for name in ("HOST", "USER", "PASSWORD")}
    return {**nobody, "MAILMART_DBT_DATABASE": PLACEHOLDER, "MAILMART_DBT_TARGET": "production"}
