"""JSON schemas that are made once, and kept in a file: dbt makes them anew in each process, to validate its own settings.

Those of a project, a profile and their flags take a sixth of a second. A command validates as before. It replaces a function of
dbt: see lean_dbt.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dbt_common.dataclass_schema import dbtClassMixin

from api.dbt.kept_files import file_name, read_kept, write_kept

PACKAGES = ("dbt-core", "dbt-common", "dbt-adapters", "dbt-postgres", "dbt-semantic-interfaces", "mashumaro")
# by the name of the class
SCHEMAS: dict[str, dict[str, Any]] = {}
NEW: set[str] = set()


def make_schemas_once() -> None:
    """Each when it is first used."""
    make: Any = dbtClassMixin.json_schema

    def json_schema(cls: type[dbtClassMixin]) -> dict[str, Any]:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if name not in SCHEMAS:
            SCHEMAS[name] = make.__func__(cls)
            NEW.add(name)
        return SCHEMAS[name]

    dbtClassMixin.json_schema = classmethod(json_schema)  # type: ignore[method-assign, assignment]


def read_schemas(folder: Path) -> bool:
    """Reads those that an earlier command has written to the folder. False if there are none."""
    kept = read_kept(folder / _file_name())
    if kept is None:
        return False
    SCHEMAS.update(json.loads(kept))
    return True


def write_schemas(folder: Path) -> None:
    """Writes all, if this process has made one."""
    if not NEW:
        return
    write_kept(folder / _file_name(), json.dumps(SCHEMAS).encode())
    NEW.clear()


def _file_name() -> str:
    return file_name("schemas", PACKAGES)
