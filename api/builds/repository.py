"""Builds and publications: read from app.batches and app.publications, and rolled back. dbt writes them (migration 0016)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from api.db.connection import connect
from api.errors import MailmartError
from api.settings import Settings


@dataclass(frozen=True)
class Batch:
    """A build and the rows that it wrote. `status`: running, published, built, failed or abandoned; `is_served`: by the API.

    The rows are None if they are no longer known: those of models are kept back to the publication before the current one.
    """

    batch_id: int
    status: str
    command: str
    started_at: datetime
    ended_at: datetime | None
    rows_inserted: int | None
    rows_expired: int | None
    is_served: bool


@dataclass(frozen=True)
class BuildRecord:
    """How a build stands. `continues`: the earliest failed build whose nodes count in this one."""

    batch_id: int
    invocation_id: str
    status: str
    started_at: datetime
    continues: int | None
    failure_summary: str | None


@dataclass(frozen=True)
class WrittenRows:
    """How many models of a build wrote, and how many rows they inserted or expired."""

    models: int
    rows: int


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
                written.rows_inserted,
                written.rows_expired,
                publication.batch_id is not null as is_served
            from latest
            left join written on latest.batch_id = written.batch_id
            left join app.current_publication as publication
                on latest.target = publication.target and latest.batch_id = publication.batch_id
            order by latest.batch_id desc
            """,
            {"target": settings.target, "limit": limit},
        ).fetchall()


def find_build(connection: psycopg.Connection, invocation_id: str) -> BuildRecord | None:
    """The build of a dbt invocation; None if it was refused, or failed before it began."""
    with connection.cursor(row_factory=class_row(BuildRecord)) as cursor:
        return cursor.execute(
            """
            select batch_id, invocation_id, status, started_at, continues, failure_summary
            from app.batches
            where invocation_id = %s
            """,
            (invocation_id,),
        ).fetchone()


def latest_build(connection: psycopg.Connection, target: str) -> BuildRecord | None:
    """The build of the target that began last."""
    with connection.cursor(row_factory=class_row(BuildRecord)) as cursor:
        return cursor.execute(
            """
            select batch_id, invocation_id, status, started_at, continues, failure_summary
            from app.batches
            where target = %s
            order by batch_id desc
            limit 1
            """,
            (target,),
        ).fetchone()


def is_anything_published(connection: psycopg.Connection, target: str) -> bool:
    """Whether the target has a publication."""
    row = connection.execute("select exists (select from app.current_publication where target = %s)", (target,)).fetchone()
    return row == (True,)


def published_since(connection: psycopg.Connection, target: str, moment: datetime) -> int | None:
    """The latest published batch of a whole build of which no part began before `moment`.

    Not by data_as_of: that is earlier than the build if a transaction was loading events when it began.
    """
    row = connection.execute(
        """
        select max(publications.batch_id)
        from app.publications
        inner join app.batches as published using (target, batch_id)
        inner join app.batches as earliest on earliest.batch_id = coalesce(published.continues, published.batch_id)
        where publications.target = %s and earliest.started_at >= %s and not published.is_continuous
        """,
        (target, moment),
    ).fetchone()
    return row[0] if row else None


def written_rows(connection: psycopg.Connection, batch_id: int | None) -> WrittenRows:
    """What a build wrote; nothing for None."""
    row = connection.execute(
        "select count(*), coalesce(sum(rows_inserted + rows_expired), 0)::bigint from app.model_runs where batch_id = %s",
        (batch_id,),
    ).fetchone()
    return WrittenRows(*row) if row else WrittenRows(0, 0)


def rollback(settings: Settings) -> int:
    """Goes back to the previous publication, and returns its batch.

    The current one is withdrawn: the next rollback goes further back, never to it. The next build publishes as usual.

    Raises:
        MailmartError: there is no earlier publication; the rows of older ones are deleted.
    """
    with connect(settings, "mailmart_owner") as connection:
        # locking the row keeps out a build that publishes at this moment
        row = connection.execute(
            """
            with published as materialized (
                select target, batch_id from app.current_publication
                where target = %(target)s
                for update
            ),

            previous as (
                select max(publications.batch_id) as batch_id
                from published
                inner join app.publications as publications
                    on published.target = publications.target and published.batch_id > publications.batch_id
                where publications.withdrawn_at is null
            ),

            withdrawn as (
                update app.publications as publications
                set withdrawn_at = clock_timestamp()
                from published, previous
                where
                    publications.target = published.target
                    and publications.batch_id = published.batch_id
                    and previous.batch_id is not null
            )

            update app.current_publication as publication
            set batch_id = previous.batch_id, changed_at = clock_timestamp()
            from previous
            where publication.target = %(target)s and previous.batch_id is not null
            returning publication.batch_id
            """,
            {"target": settings.target},
        ).fetchone()
    if row is None:
        raise MailmartError(
            "there is no earlier publication to roll back to",
            hint="The rows of the last two publications are kept; build again to publish a new one.",
        )
    return int(row[0])
