"""Runs dbt-bouncer on the manifest of the project's files, without a database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson

from api.settings import PROJECT_ROOT
from tests.support.manifest import project_manifest


def main() -> int:
    """Returns the exit status of dbt-bouncer."""
    folder = PROJECT_ROOT / "build" / "lint"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_bytes(orjson.dumps(project_manifest()))
    bouncer = Path(sys.executable).parent / "dbt-bouncer"
    return subprocess.run([str(bouncer), "run", "--config-file", "dbt-bouncer.yml"], cwd=PROJECT_ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
