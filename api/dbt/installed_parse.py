"""The parse of the project that is made with the installation. The first dbt command of each warehouse begins with it.

`python -m api.dbt.installed_parse` makes it: `make install` does at its end, and the container's image when it is built. Parsing
would take a third of the time of a first build. dbt looks at the files of the project as ever, and parses those that have changed
since.
"""

from __future__ import annotations

import contextlib
import os
import pprint
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.dbt.lean_dbt import started_dbt
from api.dbt.profile import dbt_environment
from api.dbt.warm_server import parse
from api.settings import PROJECT_ROOT, Settings

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import ManifestLoader

INSTALLED = PROJECT_ROOT / "build" / "dbt"
PARSE = "partial_parse.msgpack"
# in the names of relations, where the name of a warehouse's database is put in its place
PLACEHOLDER = "database_of_the_parsed_project"
# parsing does not connect, but dbt requires a connection
OFFLINE = {"host": "localhost", "port": 5432, "user": "nobody", "sslmode": "prefer", "database": PLACEHOLDER}
# of others, dbt parses the project itself: it writes them into names without a change
ORDINARY_DATABASE = re.compile(r"\w+")


def make_parse(folder: Path) -> bool:
    """Parses the project into the folder, and compiles its templates. False if dbt cannot parse it; it has said why."""
    url = f"postgresql://{OFFLINE['user']}@{OFFLINE['host']}:{OFFLINE['port']}/{PLACEHOLDER}?sslmode={OFFLINE['sslmode']}"
    with tempfile.TemporaryDirectory(prefix="mailmart-parse-") as home:
        settings = replace(Settings.from_environment({}), database_url=url, home=Path(home))
        os.environ.update(dbt_environment(settings))
        with started_dbt(("--target-path", str(folder)), has_debug_events=False):
            return parse("--no-write-json", "--target-path", str(folder), "--log-path", home) is not None


def use_installed_parse(folder: Path, installed: Path) -> None:
    """Lets dbt begin with the installation's parse, in this process, if there is none in dbt's target folder."""
    if (folder / PARSE).exists() or not (installed / PARSE).exists():
        return
    from dbt.parser.manifest import ManifestLoader

    read = ManifestLoader.read_manifest_for_partial_parse

    def read_installed(loader: ManifestLoader) -> Manifest | None:
        ManifestLoader.read_manifest_for_partial_parse = read  # type: ignore[method-assign]
        # otherwise dbt parses the project, as it does without an installed parse
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            project = loader.root_project
            _copy(installed / PARSE, folder / PARSE, project.project_root, dict(project.credentials.connection_info()))
        return read(loader)

    ManifestLoader.read_manifest_for_partial_parse = read_installed  # type: ignore[method-assign, assignment]


def with_database(parsed: Any, database: str) -> Any:
    """A parse, or a part of it, for the database with this name."""
    if isinstance(parsed, str):
        return parsed.replace(PLACEHOLDER, database)
    if isinstance(parsed, list):
        return [with_database(item, database) for item in parsed]
    if isinstance(parsed, dict):
        return {name: with_database(item, database) for name, item in parsed.items()}
    return parsed


def _copy(source: Path, target: Path, project: str, connection: Mapping[str, Any]) -> None:
    """Copies a parse that was made offline, if only the database, its server and the login are others here.

    dbt discards a parse that was made for another connection, so the copy gets this one. It has the folders of the seeds.

    Raises:
        ValueError, KeyError, TypeError: the file is damaged, or of another release of dbt.
    """
    import msgpack  # type: ignore[import-untyped]

    parsed = msgpack.unpackb(source.read_bytes())
    hash_of_connection = parsed["state_check"]["profile_hash"]
    is_for_others = hash_of_connection["checksum"] == _checksum({**connection, **OFFLINE})
    is_here = {project} >= {node["root_path"] for node in parsed["nodes"].values() if "root_path" in node}
    if not is_for_others or not is_here or ORDINARY_DATABASE.fullmatch(connection["database"]) is None:
        return
    hash_of_connection["checksum"] = _checksum(connection)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".parse-", delete=False) as file:
        file.write(msgpack.packb(with_database(parsed, connection["database"])))
    Path(file.name).replace(target)


def _checksum(connection: Mapping[str, Any]) -> str:
    """What dbt compares to know whether a parse is of the same connection (`ManifestLoader.build_manifest_state_check`)."""
    from dbt.artifacts.resources.base import FileHash

    return FileHash.from_contents(pprint.pformat(sorted(connection.items()))).checksum


if __name__ == "__main__":
    sys.exit(not make_parse(INSTALLED))
