"""The first dbt command of a warehouse begins with the parse of the installation, whatever its server and login."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import orjson
import pytest
from dbt.parser.manifest import ManifestLoader

from api.dbt import installed_parse
from api.dbt.installed_parse import OFFLINE, PARSE, PLACEHOLDER, use_installed_parse
from api.settings import PROJECT_ROOT
from tests.support.manifest import project_parse

CONNECTION = {**OFFLINE, "host": "db.example.com", "port": 6543, "user": "builder", "sslmode": "require", "database": "mail"}
SCHEMA = {"schema": "public", "role": "mailmart_owner"}
RUN = """
import sys
from pathlib import Path

from api.dbt import installed_parse
from api.dbt.lean_dbt import started_dbt

installed_parse.INSTALLED = Path(sys.argv.pop(1))
sys.argv[0] = "dbt"
with started_dbt(sys.argv[1:], has_debug_events=True):
    from dbt.cli.main import cli

    cli(sys.argv[1:])
"""


class _Loader:
    """What is read of dbt's loader."""

    def __init__(self, connection: dict[str, Any], project: str) -> None:
        self.root_project = self
        self.project_root = project
        self.credentials = self
        self._connection = connection

    def connection_info(self) -> list[tuple[str, Any]]:
        return list(self._connection.items())


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    folder = tmp_path / "installed"
    folder.mkdir()
    parsed = {
        "nodes": {
            "model.mailmart.fct_messages": {"relation_name": f'"{PLACEHOLDER}"."core"."fct_messages"', "tags": [1, None]},
            "seed.mailmart.countries": {"root_path": "/project"},
        },
        "state_check": {"profile_hash": {"name": "sha256", "checksum": installed_parse._checksum({**OFFLINE, **SCHEMA})}},
    }
    (folder / PARSE).write_bytes(msgpack.packb(parsed))
    return folder


def read(
    monkeypatch: pytest.MonkeyPatch, installed: Path, folder: Path, connection: dict[str, Any], project: str = "/project"
) -> None:
    """As dbt reads the parse of a folder."""
    monkeypatch.setattr(ManifestLoader, "read_manifest_for_partial_parse", lambda loader: None)
    use_installed_parse(folder, installed)
    ManifestLoader.read_manifest_for_partial_parse(_Loader(connection, project))  # type: ignore[arg-type]


def test_the_copy_is_of_this_database_and_connection(monkeypatch: pytest.MonkeyPatch, installed: Path, tmp_path: Path) -> None:
    connection = {**CONNECTION, **SCHEMA}
    read(monkeypatch, installed, tmp_path / "target", connection)
    [path] = (tmp_path / "target").iterdir()
    copied = msgpack.unpackb(path.read_bytes())
    assert copied["nodes"]["model.mailmart.fct_messages"] == {"relation_name": '"mail"."core"."fct_messages"', "tags": [1, None]}
    assert copied["state_check"]["profile_hash"] == {"name": "sha256", "checksum": installed_parse._checksum(connection)}


@pytest.mark.parametrize(
    "other",
    [{"schema": "dev"}, {"role": "ann"}, {"search_path": "app"}, {"database": 'a "mail"'}],
)
def test_it_is_not_copied_for_another_target(
    monkeypatch: pytest.MonkeyPatch, installed: Path, tmp_path: Path, other: dict[str, str]
) -> None:
    read(monkeypatch, installed, tmp_path / "target", {**CONNECTION, **SCHEMA, **other})
    assert not (tmp_path / "target").exists()


def test_it_is_not_copied_for_another_folder(monkeypatch: pytest.MonkeyPatch, installed: Path, tmp_path: Path) -> None:
    read(monkeypatch, installed, tmp_path / "target", {**CONNECTION, **SCHEMA}, "/moved")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("damage", [b"", b"\xc1", b"\x80", b"\x81\xabstate_check\x80", b"\x92\x01"])
def test_a_damaged_one_is_left_alone(monkeypatch: pytest.MonkeyPatch, installed: Path, tmp_path: Path, damage: bytes) -> None:
    (installed / PARSE).write_bytes(damage)
    read(monkeypatch, installed, tmp_path / "target", {**CONNECTION, **SCHEMA})
    assert not (tmp_path / "target").exists()


def test_a_parse_of_the_warehouse_is_kept(monkeypatch: pytest.MonkeyPatch, installed: Path, tmp_path: Path) -> None:
    (tmp_path / PARSE).write_bytes(b"its own")
    read(monkeypatch, installed, tmp_path, {**CONNECTION, **SCHEMA})
    assert (tmp_path / PARSE).read_bytes() == b"its own"


def test_dbt_parses_nothing_again(tmp_path: Path) -> None:
    (tmp_path / "profiles.yml").write_bytes((PROJECT_ROOT / "profiles.yml.example").read_bytes())
    paths = {name: str(tmp_path) for name in ("DBT_PROFILES_DIR", "DBT_TARGET_PATH", "DBT_LOG_PATH")}
    connection = {f"MAILMART_DBT_{name.upper()}": str(value) for name, value in CONNECTION.items()}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(project_parse()), "--log-level-file", "debug", "parse", "--target-path", str(tmp_path)],
        cwd=PROJECT_ROOT,
        env={**os.environ, **paths, **connection, "MAILMART_DBT_PASSWORD": "x", "MAILMART_DBT_TARGET": "production"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    log = (tmp_path / "dbt.log").read_text()
    assert "Unable to do partial parsing" not in log
    assert "Partial parsing enabled, no changes found, skipping parsing" in log
    nodes = orjson.loads((tmp_path / "manifest.json").read_bytes())["nodes"]
    assert nodes["model.mailmart.fct_messages"]["relation_name"] == '"mail"."core"."fct_messages"'
    assert PLACEHOLDER not in (tmp_path / "manifest.json").read_text()
