"""A project's files, parsed once: dbt's partial parse of them, for any database.

dbt parses a project from the beginning for each new target folder and each new database, which is most of the time of a build of
little data. Every node of a parse names its database: here that name is replaced, and the hash of the connection with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
from dbt.contracts.graph.manifest import Manifest
from dbt.parser.manifest import ManifestLoader, extended_mashumuro_decoder

from api.dbt.warm_server import compile_macros
from tests.support.parse_command import FILE, PLACEHOLDER


class ParsedProject:
    """What `dbt parse` left in a folder, in a database called PLACEHOLDER."""

    def __init__(self, folder: Path) -> None:
        content = (folder / FILE).read_bytes()
        self._parse = msgpack.unpackb(content)
        compile_macros(Manifest.from_msgpack(content, decoder=extended_mashumuro_decoder))

    def prepare(self, arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> None:
        """Lets the dbt command that this process is about to run use the parse, in the project or in a copy of it.

        A project of other models can have a parse of its own, a file of that name in its folder. dbt still compares every file
        with it, and parses what is different.
        """
        own_parse = Path(folder, FILE)
        is_a_copy = (Path(folder) / "models" / "marts").is_dir()
        if not (is_a_copy or own_parse.exists()) or environment.get("MAILMART_DBT_TARGET") != "production":
            return
        if "--target-path" in arguments:
            target = Path(folder, arguments[arguments.index("--target-path") + 1])
        else:
            # not in the project, whose folder the tests of several workers share
            target = Path(environment["DBT_PROFILES_DIR"], "target")
            os.environ["DBT_TARGET_PATH"] = str(target)
        if not (target / FILE).exists():
            target.mkdir(parents=True, exist_ok=True)
            parse = msgpack.unpackb(own_parse.read_bytes()) if own_parse.exists() else self._parse
            (target / FILE).write_bytes(msgpack.packb(_replace(parse, environment["MAILMART_DBT_DATABASE"])))
        _ignore_connection_and_variables()


def _replace(value: Any, database: str) -> Any:
    if isinstance(value, str):
        return value.replace(PLACEHOLDER, database)
    if isinstance(value, list):
        return [_replace(item, database) for item in value]
    if isinstance(value, dict):
        return {name: _replace(item, database) for name, item in value.items()}
    return value


def _ignore_connection_and_variables() -> None:
    """No file of the project says something else to the parser if a variable has another value: only what runs reads them."""
    compare = ManifestLoader.is_partial_parsable

    def compare_the_rest(loader: ManifestLoader, parsed: Any) -> Any:
        parsed.state_check.profile_hash = loader.manifest.state_check.profile_hash
        parsed.state_check.vars_hash = loader.manifest.state_check.vars_hash
        return compare(loader, parsed)

    ManifestLoader.is_partial_parsable = compare_the_rest  # type: ignore[method-assign, assignment]
