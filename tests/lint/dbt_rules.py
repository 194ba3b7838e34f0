"""Runs dbt-bouncer on the project as it stands in the files; no database is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson

from api.dbt.manifest import parse_manifest
from api.settings import PROJECT_ROOT, Settings


def main() -> int:
    """The exit status of dbt-bouncer."""
    folder = PROJECT_ROOT / "build" / "lint"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = parse_manifest(Settings.from_environment())
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    bouncer = Path(sys.executable).parent / "dbt-bouncer"
    return subprocess.run([str(bouncer), "run", "--config-file", "dbt-bouncer.yml"], cwd=PROJECT_ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
