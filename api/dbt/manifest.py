"""dbt's manifest of the project's files. No database is needed."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import orjson

from api.dbt.runner import run_dbt
from api.errors import ContractError
from api.settings import Settings


def parse_manifest(settings: Settings) -> dict[str, Any]:
    """The manifest that `dbt parse` makes of the project.

    Raises:
        ContractError: dbt cannot parse the project; the hint is dbt's output.
    """
    # parsing does not connect, but dbt requires a connection in its profile
    with_url = dataclasses.replace(settings, database_url=settings.database_url or "postgresql://nobody@localhost/nothing")
    with tempfile.TemporaryDirectory(prefix="mailmart-parse-") as folder:
        offline = dataclasses.replace(with_url, home=Path(folder))
        parsed = run_dbt(offline, ["--no-use-colors", "parse", "--target-path", folder, "--log-path", folder], quiet=True)
        if parsed.returncode != 0:
            raise ContractError("dbt cannot parse the project", hint=parsed.stdout.strip())
        manifest: dict[str, Any] = orjson.loads((Path(folder) / "manifest.json").read_bytes())
    return manifest
