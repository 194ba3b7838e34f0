"""dbt's manifest of the project, parsed once for each state of the project's files and kept below build/."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from api.dbt.manifest import parse_manifest
from api.settings import PROJECT_ROOT, Settings

FOLDER = PROJECT_ROOT / "build" / "manifests"
# besides the project's files: a manifest depends on dbt's release
PARTS = ("dbt_project.yml", "profiles.yml.example", "requirements.lock", "macros", "models", "seeds", "tests/dbt", "api/dbt")


def project_manifest() -> dict[str, Any]:
    """The manifest of the project's files as they are now."""
    path = FOLDER / f"{_hash()}.json"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        parsed = parse_manifest(Settings.from_environment({}))
        for outdated in FOLDER.glob("*.json"):
            outdated.unlink(missing_ok=True)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_bytes(orjson.dumps(parsed))
        unfinished.rename(path)
    manifest: dict[str, Any] = orjson.loads(path.read_bytes())
    return manifest


def _hash() -> str:
    digest = hashlib.sha256()
    for part in PARTS:
        path = PROJECT_ROOT / part
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                digest.update(str(file.relative_to(PROJECT_ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
