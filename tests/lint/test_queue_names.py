"""Only one Python module and six database functions name procrastinate's tables and functions."""

from __future__ import annotations

import re

from api.settings import PROJECT_ROOT

# its tables, types and functions all have this prefix
NAMES = re.compile(r"\bprocrastinate_\w+")
ALLOWED = {
    "api/jobs/queue_sql.py",
    # migrations that were released before app.enqueue, and the one that adds it
    "api/db/migrations/0008_exports.sql",
    "api/db/migrations/0010_reports.sql",
    "api/db/migrations/0012_exports_in_turn.sql",
    "api/db/migrations/0017_job_queue_functions.sql",
    "api/db/migrations/0019_least_privilege.sql",
    # app.erase_jobs
    "api/db/migrations/0029_erasure_of_workspaces.sql",
}


def test_only_one_module_names_procrastinates_tables_and_functions() -> None:
    files = [
        path
        for folder in ("api", "macros", "models")
        for path in (PROJECT_ROOT / folder).rglob("*")
        if path.suffix in (".py", ".sql", ".yml")
    ]
    naming = {path.relative_to(PROJECT_ROOT).as_posix() for path in files if NAMES.search(path.read_text(encoding="utf-8"))}
    assert naming == ALLOWED
