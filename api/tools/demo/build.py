"""The demo's build, which is skipped if nothing has changed: starting dbt alone takes seconds."""

from __future__ import annotations

from pathlib import Path

from api.db.connection import connect
from api.dbt.project_hash import project_hash
from api.dbt.runner import run_dbt
from api.errors import MailmartError
from api.settings import Settings

MAX_FAILURE_LINES = 40


def needs_build(settings: Settings) -> bool:
    """Whether events were loaded or the project has changed since the last publication."""
    hash_file = _hash_file(settings)
    if not hash_file.exists() or hash_file.read_text() != project_hash(settings.project_root):
        return True
    return _has_new_events(settings)


def build(settings: Settings) -> None:
    """Runs dbt build without the unit tests, which do not depend on the data.

    Raises:
        MailmartError: the build failed; with the last lines of dbt's output.
    """
    current = project_hash(settings.project_root)
    built = run_dbt(settings, ["--no-use-colors", "build", "--exclude-resource-type", "unit_test"], quiet=True)
    if built.returncode != 0:
        raise MailmartError("dbt build failed", hint="\n".join(built.stdout.splitlines()[-MAX_FAILURE_LINES:]))
    _hash_file(settings).write_text(current)


def _hash_file(settings: Settings) -> Path:
    return settings.home / "demo_project"


def _has_new_events(settings: Settings) -> bool:
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute(
            """
            with loaded as (
                select max(loaded_at) as loaded_at from raw.email_events
                union all
                select max(loaded_at) from raw.webhook_payloads
            )

            select coalesce(max(loaded.loaded_at) > max(publications.data_as_of), true)
            from loaded
            left join app.current_publication as publication on publication.target = %(target)s
            left join app.publications as publications
                on publication.target = publications.target and publication.batch_id = publications.batch_id
            """,
            {"target": settings.target},
        ).fetchone()
    return row is None or bool(row[0])
