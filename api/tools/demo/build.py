"""The demo's build, which is skipped if nothing has changed: starting dbt alone takes seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from api.db.connection import connect
from api.dbt.runner import run_dbt
from api.errors import MailmartError
from api.settings import Settings

LINES_OF_A_FAILURE = 40
PROJECT_PARTS = ("dbt_project.yml", "macros", "models", "seeds", "tests/dbt")


def needs_build(settings: Settings) -> bool:
    """Whether events were loaded, or the project's files changed, since the build that is published."""
    return _has_changed_since_publication(settings, _project_changed_at(settings.project_root))


def build(settings: Settings) -> None:
    """Runs dbt build without the unit tests, which do not depend on the data.

    Raises:
        MailmartError: the build failed; with the last lines of dbt's output.
    """
    built = run_dbt(settings, ["--no-use-colors", "build", "--exclude-resource-type", "unit_test"], quiet=True)
    if built.returncode != 0:
        raise MailmartError("dbt build failed", hint="\n".join(built.stdout.splitlines()[-LINES_OF_A_FAILURE:]))


def _project_changed_at(root: Path) -> datetime:
    """When a file of the project was last written; a folder's own time changes when a file in it is deleted."""
    paths = (path for part in PROJECT_PARTS for path in [root / part, *(root / part).rglob("*")])
    return datetime.fromtimestamp(max(path.stat().st_mtime for path in paths), UTC)


def _has_changed_since_publication(settings: Settings, project_changed_at: datetime) -> bool:
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute(
            """
            with changed as (
                select max(loaded_at) as changed_at from raw.email_events
                union all
                select max(loaded_at) from raw.webhook_payloads
                union all
                select %(project_changed_at)s
            )

            select coalesce(max(changed.changed_at) > max(publications.data_as_of), true)
            from changed
            left join app.current_publication as publication on publication.target = %(target)s
            left join app.publications as publications
                on publication.target = publications.target and publication.batch_id = publications.batch_id
            """,
            {"target": settings.target, "project_changed_at": project_changed_at},
        ).fetchone()
    return row is None or bool(row[0])
