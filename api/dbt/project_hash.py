"""The dbt project's own files."""

from __future__ import annotations

import hashlib
from pathlib import Path

PARTS = ("dbt_project.yml", "macros", "models", "seeds", "tests/dbt")


def project_hash(root: Path) -> str:
    """A hash of all files that a build is made from."""
    digest = hashlib.sha256()
    for part in PARTS:
        path = root / part
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file():
                digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
