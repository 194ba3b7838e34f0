"""What `mailmart batch status` shows: read, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from api.db.connection import connect
from api.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Served:
    """The batch that is served; `late_after` is None where the mart that knows is not built yet."""

    batch_id: int
    since: datetime
    data_as_of: datetime
    late_after: datetime | None = None
    is_late: bool = False


@dataclass(frozen=True)
class NightlyRunStatus:
    """A nightly run, or one by hand."""

    scheduled_for: datetime
    is_manual: bool
    status: str
    attempts: int
    started_at: datetime
    ended_at: datetime | None
    batch_id: int | None
    error: str | None


@dataclass(frozen=True)
class ModelBatch:
    """What a model wrote in a build."""

    model: str
    rows_inserted: int
    rows_expired: int
    seconds: float


@dataclass(frozen=True)
class LastBuild:
    """The last build, and its models in the order in which they ended."""

    batch_id: int
    status: str
    continues: int | None
    failure_summary: str | None
    models: list[ModelBatch]


@dataclass(frozen=True)
class BatchStatus:
    """All of it, as of one moment."""

    served: Served | None
    runs: list[NightlyRunStatus]
    last_build: LastBuild | None


def batch_status(settings: Settings, runs: int = 7) -> BatchStatus:
    """Reads the status of the settings' target, with the latest nightly runs, newest first."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        return BatchStatus(_served(connection, settings), _runs(connection, settings, runs), _last_build(connection, settings))


def _served(connection: psycopg.Connection, settings: Settings) -> Served | None:
    schema = "marts" if settings.is_production else f"{settings.target}_marts"
    published = _one(
        connection,
        Served,
        """
        select publication.batch_id, publication.changed_at as since, publications.data_as_of
        from app.current_publication as publication
        inner join app.publications as publications using (target, batch_id)
        where publication.target = %(target)s
        """,
        settings,
    )
    row = connection.execute("select to_regclass(%s)", (f'"{schema}".freshness',)).fetchone()
    if published is None or row == (None,):
        return published
    late = connection.execute(sql.SQL("select late_after, is_late from {}.freshness").format(sql.Identifier(schema))).fetchone()
    return Served(published.batch_id, published.since, published.data_as_of, *(late or ()))


def _runs(connection: psycopg.Connection, settings: Settings, limit: int) -> list[NightlyRunStatus]:
    with connection.cursor(row_factory=class_row(NightlyRunStatus)) as cursor:
        return cursor.execute(
            """
            select scheduled_for, is_manual, status, attempts, started_at, ended_at, batch_id, error
            from app.nightly_runs
            where target = %s
            order by scheduled_for desc
            limit %s
            """,
            (settings.target, limit),
        ).fetchall()


def _last_build(connection: psycopg.Connection, settings: Settings) -> LastBuild | None:
    row = connection.execute(
        "select batch_id, status, continues, failure_summary from app.batches where target = %s order by batch_id desc limit 1",
        (settings.target,),
    ).fetchone()
    if row is None:
        return None
    with connection.cursor(row_factory=class_row(ModelBatch)) as cursor:
        models = cursor.execute(
            """
            select
                model,
                coalesce(rows_inserted, 0) as rows_inserted,
                coalesce(rows_expired, 0) as rows_expired,
                extract(epoch from ended_at - started_at)::float as seconds
            from app.model_runs
            where target = %s and batch_id = %s
            order by ended_at
            """,
            (settings.target, row[0]),
        ).fetchall()
    batch_id, status, continues, failure_summary = row
    return LastBuild(batch_id, status, continues, failure_summary, models)


def _one(connection: psycopg.Connection, kind: type[T], statement: LiteralString, settings: Settings) -> T | None:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(statement, {"target": settings.target}).fetchone()
