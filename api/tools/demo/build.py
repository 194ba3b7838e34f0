"""Whether the demo has to build: starting dbt alone takes seconds."""

from __future__ import annotations

from pathlib import Path

from api.db.connection import connect
from api.dbt.project_hash import project_hash
from api.dbt.runner import run_dbt
from api.errors import MailmartError
from api.settings import Settings

LINES_OF_A_FAILURE = 40


def needs_build(settings: Settings) -> bool:
    """Whether anything has landed, or the project has changed, since the last publication."""
    built_from = _built_from(settings)
    if not built_from.exists() or built_from.read_text() != project_hash(settings.project_root):
        return True
    return _has_landed_since_publication(settings)


def build(settings: Settings) -> None:
    """dbt build, without the unit tests, which tell nothing about the data.

    Raises:
        MailmartError: it failed; with the end of what dbt said.
    """
    current = project_hash(settings.project_root)
    built = run_dbt(settings, ["--no-use-colors", "build", "--exclude-resource-type", "unit_test"], quiet=True)
    if built.returncode != 0:
        raise MailmartError("dbt build failed", hint="\n".join(built.stdout.splitlines()[-LINES_OF_A_FAILURE:]))
    _built_from(settings).write_text(current)


def _built_from(settings: Settings) -> Path:
    return settings.home / "demo_project"


def _has_landed_since_publication(settings: Settings) -> bool:
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute(
            """
            with landed as (
                select max(loaded_at) as loaded_at from raw.email_events
                union all
                select max(loaded_at) from raw.webhook_payloads
            )

            select coalesce(max(landed.loaded_at) > max(publications.data_as_of), true)
            from landed
            left join app.current_publication as publication on publication.target = %(target)s
            left join app.publications as publications
                on publication.target = publications.target and publication.batch_id = publications.batch_id
            """,
            {"target": settings.target},
        ).fetchone()
    return row is None or bool(row[0])
