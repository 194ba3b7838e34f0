"""Builds and what is published of them: read, and taken back. dbt writes them (macros/versioning/batch.sql)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from api.db.connection import connect
from api.errors import MailmartError
from api.settings import Settings


@dataclass(frozen=True)
class Batch:
    """One build. `status`: running, published, built, failed or abandoned; `is_served`: the API answers out of it."""

    batch_id: int
    status: str
    command: str
    started_at: datetime
    ended_at: datetime | None
    rows_inserted: int
    rows_expired: int
    is_served: bool


def list_batches(settings: Settings, limit: int = 20) -> list[Batch]:
    """The latest builds of the settings' target, newest first."""
    with (
        connect(settings, "mailmart_owner") as connection,
        connection.cursor(row_factory=class_row(Batch)) as cursor,
    ):
        return cursor.execute(
            """
            with latest as (
                select * from app.batches
                where target = %(target)s
                order by batch_id desc
                limit %(limit)s
            ),

            written as (
                select
                    batch_id,
                    sum(rows_inserted)::bigint as rows_inserted,
                    sum(rows_expired)::bigint as rows_expired
                from app.model_runs
                where target = %(target)s
                group by batch_id
            )

            select
                latest.batch_id,
                latest.status,
                latest.command,
                latest.started_at,
                latest.ended_at,
                coalesce(written.rows_inserted, 0) as rows_inserted,
                coalesce(written.rows_expired, 0) as rows_expired,
                publication.batch_id is not null as is_served
            from latest
            left join written on latest.batch_id = written.batch_id
            left join app.current_publication as publication
                on latest.target = publication.target and latest.batch_id = publication.batch_id
            order by latest.batch_id desc
            """,
            {"target": settings.target, "limit": limit},
        ).fetchall()


def go_back(settings: Settings) -> int:
    """Serves the publication before the one that is served, and returns its batch.

    The one that was served is withdrawn: going back again goes further back, never to it. The next build publishes as ever.

    Raises:
        MailmartError: there is nothing to go back to; the rows of earlier publications are removed.
    """
    with connect(settings, "mailmart_owner") as connection:
        # the lock of the row keeps a build that publishes at this moment apart
        row = connection.execute(
            """
            with served as materialized (
                select target, batch_id from app.current_publication
                where target = %(target)s
                for update
            ),

            before as (
                select max(publications.batch_id) as batch_id
                from served
                inner join app.publications as publications
                    on served.target = publications.target and served.batch_id > publications.batch_id
                where publications.withdrawn_at is null
            ),

            withdrawn as (
                update app.publications as publications
                set withdrawn_at = clock_timestamp()
                from served, before
                where
                    publications.target = served.target
                    and publications.batch_id = served.batch_id
                    and before.batch_id is not null
            )

            update app.current_publication as publication
            set batch_id = before.batch_id, changed_at = clock_timestamp()
            from before
            where publication.target = %(target)s and before.batch_id is not null
            returning publication.batch_id
            """,
            {"target": settings.target},
        ).fetchone()
    if row is None:
        raise MailmartError(
            "there is no earlier publication to go back to",
            hint="The rows of the last two publications are kept; build again to publish a new one.",
        )
    return int(row[0])
