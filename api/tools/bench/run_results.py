"""How long each node of dbt took, from its run_results.json: for a server whose log cannot be read."""

from __future__ import annotations

import json
from datetime import datetime

from api.dbt.profile import target_path
from api.settings import Settings
from api.tools.bench.statement_log import Statement


def statements_of_last_run(scratch: Settings) -> list[Statement]:
    """One for each node that dbt ran last: from the start of its work on the database until its end."""
    path = scratch.project_root / target_path(scratch) / "run_results.json"
    results = json.loads(path.read_text())["results"]
    return [
        Statement(_seconds(timing["started_at"]), _seconds(timing["completed_at"]), result["unique_id"])
        for result in results
        for timing in result["timing"]
        if timing["name"] == "execute" and timing["completed_at"]
    ]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
