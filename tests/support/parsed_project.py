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

from api.dbt.installed_parse import PARSE, PLACEHOLDER, with_database
from api.dbt.lean_templates import compile_templates_of
from api.dbt.warm_server import compile_macros, freeze_memory
from api.settings import PROJECT_ROOT

# dbt writes no manifest.json before a build if it parses nothing
TAKES_MANIFEST = {"--no-write-json", "build", "retry"}
# what dbt reads of a project
FILES = ("dbt_project.yml", "macros", "models", "seeds", "tests")


class ParsedProject:
    """What `dbt parse` left in a folder, in a database called PLACEHOLDER."""

    def __init__(self, folder: Path) -> None:
        self._files = _files(folder)
        self._others: dict[Path, ParsedProject] = {}
        self._content = (folder / PARSE).read_bytes()
        self._manifest = Manifest.from_msgpack(self._content, decoder=extended_mashumuro_decoder)
        compile_macros(self._manifest)
        # as dbt does after it has parsed
        self._manifest.build_parent_and_child_maps()  # type: ignore[no-untyped-call]
        self._manifest.build_flat_graph()  # type: ignore[no-untyped-call]

    def compile_templates(self) -> None:
        """For all commands: see lean_templates."""
        compile_templates_of(self._manifest)

    def load_other(self, folder: Path) -> None:
        """Loads the parse of a project of other models as soon as it is finished: see `once_per_run`."""
        if folder not in self._others and folder.with_name(f"{folder.name}.done").exists():
            self._others[folder] = ParsedProject(folder)
            self._others[folder].compile_templates()
            freeze_memory()

    def prepare(self, arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> Manifest | None:
        """Lets the dbt command that this process is about to run use the parse, in the project or in a copy of it.

        In the project, of which no test changes a file, the parsed manifest is returned: dbt does not look at the files. In a
        copy, dbt gets its partial parse: it compares every file with it, and parses what is different. A project of other models
        can have a parse of its own, a file of that name in its folder; while its files are those of `load_other`, its manifest is
        returned.
        """
        own_parse = Path(folder, PARSE)
        is_a_copy = (Path(folder) / "models" / "marts").is_dir()
        if is_a_copy and Path(folder) != PROJECT_ROOT and environment.get("MAILMART_DBT_TARGET") == "dev":
            # the target's schemas are in what dbt itself parsed before, in the folder that it writes to
            _ignore_variables()
        if not (is_a_copy or own_parse.exists()) or environment.get("MAILMART_DBT_TARGET") != "production":
            return None
        database = environment["MAILMART_DBT_DATABASE"]
        if "--target-path" in arguments:
            target = Path(folder, arguments[arguments.index("--target-path") + 1])
        else:
            # not in the project, whose folder the tests of several workers share
            target = Path(environment["DBT_PROFILES_DIR"], "target")
            os.environ["DBT_TARGET_PATH"] = str(target)
        unchanged = self if Path(folder) == PROJECT_ROOT else self._other(folder) if own_parse.exists() else None
        if unchanged is not None and not TAKES_MANIFEST.isdisjoint(arguments):
            _move(unchanged._manifest, database)
            return unchanged._manifest
        if not (target / PARSE).exists():
            target.mkdir(parents=True, exist_ok=True)
            parse = msgpack.unpackb(own_parse.read_bytes() if own_parse.exists() else self._content)
            (target / PARSE).write_bytes(msgpack.packb(with_database(parse, database)))
        _ignore_connection()
        _ignore_variables()
        return None

    def _other(self, folder: str) -> ParsedProject | None:
        files = _files(Path(folder))
        return next((other for other in self._others.values() if other._files == files), None)


def _files(folder: Path) -> dict[str, bytes]:
    """The project's files and their contents."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in FILES
        for path in (folder / part, *(folder / part).rglob("*"))
        if path.is_file()
    }


def _move(manifest: Manifest, database: str) -> None:
    """Replaces the database of each relation, in the nodes and in the graph that macros read."""
    for node in (*manifest.nodes.values(), *manifest.sources.values()):
        node.database = database
        node.relation_name = node.relation_name and node.relation_name.replace(PLACEHOLDER, database)
    for kind in ("nodes", "sources"):
        for entry in manifest.flat_graph[kind].values():
            entry["database"] = database
            entry["relation_name"] = entry["relation_name"] and entry["relation_name"].replace(PLACEHOLDER, database)


def _ignore_connection() -> None:
    _ignore("profile_hash")


def _ignore_variables() -> None:
    """No file of the project says something else to the parser if a variable has another value: only what runs reads them."""
    _ignore("vars_hash")


def _ignore(part: str) -> None:
    compare = ManifestLoader.is_partial_parsable

    def compare_the_rest(loader: ManifestLoader, parsed: Any) -> Any:
        setattr(parsed.state_check, part, getattr(loader.manifest.state_check, part))
        return compare(loader, parsed)

    ManifestLoader.is_partial_parsable = compare_the_rest  # type: ignore[method-assign, assignment]
