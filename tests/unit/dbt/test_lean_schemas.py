"""JSON schemas are written to a file, which another process reads; they are those of dbt, and find the same errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbt.adapters.postgres.connections import PostgresCredentials
from dbt.contracts.project import Configuration, PackageConfig, ProfileConfig, Project, ProjectFlags
from dbt_common.dataclass_schema import ValidationError, dbtClassMixin
from mashumaro.jsonschema import build_json_schema

from api.dbt import lean_schemas

CLASSES: tuple[type[dbtClassMixin], ...] = (
    *(Configuration, PackageConfig, PostgresCredentials, ProfileConfig, Project, ProjectFlags),
)


@pytest.fixture(autouse=True)
def another_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The function of dbt is as it was after the test."""
    monkeypatch.setattr(dbtClassMixin, "json_schema", dbtClassMixin.__dict__["json_schema"])
    kept = dict(lean_schemas.SCHEMAS)
    forget()
    lean_schemas.make_schemas_once()
    yield
    forget()
    lean_schemas.SCHEMAS.update(kept)


def forget() -> None:
    lean_schemas.SCHEMAS.clear()
    lean_schemas.NEW.clear()


def schemas() -> list[dict[str, Any]]:
    return [each.json_schema() for each in CLASSES]


def test_schemas_are_read_by_the_next_process(tmp_path: Path) -> None:
    folder = tmp_path / "target"
    assert not lean_schemas.read_schemas(folder)
    made = schemas()
    assert made == [build_json_schema(each).to_dict() for each in CLASSES]
    lean_schemas.write_schemas(folder)
    forget()
    assert lean_schemas.read_schemas(folder)
    assert schemas() == made
    assert not lean_schemas.NEW
    # so nothing is written again
    [path] = folder.iterdir()
    path.unlink()
    lean_schemas.write_schemas(folder)
    assert not list(folder.iterdir())


def test_schemas_of_the_file_find_what_is_wrong(tmp_path: Path) -> None:
    schemas()
    lean_schemas.write_schemas(tmp_path)
    forget()
    lean_schemas.read_schemas(tmp_path)
    ProjectFlags.validate({"send_anonymous_usage_stats": False})
    with pytest.raises(ValidationError, match="'perhaps' is not of type"):
        ProjectFlags.validate({"send_anonymous_usage_stats": "perhaps"})
    with pytest.raises(ValidationError, match="'host' is a required property"):
        PostgresCredentials.validate({"database": "mail", "schema": "public"})


@pytest.mark.parametrize("damage", [b"", b"{}", b"\0" * 500])
def test_a_damaged_file_is_ignored_and_written_again(tmp_path: Path, damage: bytes) -> None:
    made = schemas()
    lean_schemas.write_schemas(tmp_path)
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[: -len(damage) or None][:-1] + damage)
    forget()
    assert not lean_schemas.read_schemas(tmp_path)
    assert schemas() == made
    lean_schemas.write_schemas(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
