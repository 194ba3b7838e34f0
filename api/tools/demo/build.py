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
            with published as (
                select
                    batches.started_at,
                    states.raw_snapshot,
                    states.system_identifier
                from app.current_publication as publication
                inner join app.batches using (target, batch_id)
                inner join app.batches as states
                    on states.batch_id = app.raw_batch_of(publication.target, 'fct_rejected_events', publication.batch_id)
                where publication.target = %(target)s
            )

            select
                started_at > %(project_changed_at)s
                and system_identifier = app.system_identifier()
                and not exists (
                    select from raw.email_events
                    where loaded_xid >= pg_snapshot_xmin(raw_snapshot) and not pg_visible_in_snapshot(loaded_xid, raw_snapshot)
                )
                and not exists (
                    select from raw.webhook_payloads
                    where loaded_xid >= pg_snapshot_xmin(raw_snapshot) and not pg_visible_in_snapshot(loaded_xid, raw_snapshot)
                )
            from published
            """,
            {"target": settings.target, "project_changed_at": project_changed_at},
        ).fetchone()
    return row != (True,)
