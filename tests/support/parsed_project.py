"""The project's files, parsed once: dbt's partial parse of them, for any database.

dbt parses a project from the beginning for each new target folder and each new database, which is most of the time of a build of
little data. Every node of a parse names its database: here that name is replaced, and the hash of the connection with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
from dbt.parser.manifest import ManifestLoader

from api.settings import PROJECT_ROOT

FILE = "partial_parse.msgpack"
# in the names of relations, with which a database's name is replaced
PLACEHOLDER = "database_of_the_parsed_project"


class ParsedProject:
    """What `dbt parse` left in a folder, in a database called PLACEHOLDER."""

    def __init__(self, folder: Path) -> None:
        self._parse = msgpack.unpackb((folder / FILE).read_bytes())

    def prepare(self, arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
        """Lets the dbt command that this process is about to run use the parse.

        dbt still compares the variables of the command and every file with it, and parses what is different.
        """
        is_parsed_project = Path(folder) == PROJECT_ROOT and environment.get("MAILMART_DBT_TARGET") == "production"
        if not is_parsed_project or "--vars" in arguments or "--target-path" not in arguments:
            return
        target = Path(arguments[arguments.index("--target-path") + 1])
        target.mkdir(parents=True, exist_ok=True)
        parse = _replace(self._parse, environment["MAILMART_DBT_DATABASE"])
        (target / FILE).write_bytes(msgpack.packb(parse))
        _ignore_connection()


def _replace(value: Any, database: str) -> Any:
    if isinstance(value, str):
        return value.replace(PLACEHOLDER, database)
    if isinstance(value, list):
        return [_replace(item, database) for item in value]
    if isinstance(value, dict):
        return {name: _replace(item, database) for name, item in value.items()}
    return value


def _ignore_connection() -> None:
    compare = ManifestLoader.is_partial_parsable

    def compare_all_but_connection(loader: ManifestLoader, parsed: Any) -> Any:
        parsed.state_check.profile_hash = loader.manifest.state_check.profile_hash
        return compare(loader, parsed)

    ManifestLoader.is_partial_parsable = compare_all_but_connection  # type: ignore[method-assign, assignment]
