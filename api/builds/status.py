"""What `mailmart batch status` shows. Nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from api.builds.repository import BuildRecord, latest_build
from api.db.advisory_lock import AdvisoryLockSession, sessions_with_advisory_locks
from api.db.connection import connect
from api.settings import Settings

SECONDS_UNTIL_IN_THE_WAY = 60
# each statement of a build begins with a comment that has dbt's invocation and the node: model.mailmart.fct_messages
BUILD_SESSIONS = """
    select
        pid,
        case when state = 'active' then split_part(substring(query from '"node_id": "([^"]+)"'), '.', 3) end
    from pg_catalog.pg_stat_activity
    where
        datname = current_database()
        and pid <> pg_backend_pid()
        -- not its parallel workers
        and backend_type = 'client backend'
        and strpos(query, format('"invocation_id": "%%s"', %s::text)) > 0
    order by xact_start
"""


@dataclass(frozen=True)
class PublicationStatus:
    """The published batch.

    Attributes:
        data_as_of: all events loaded until then are in it: at its build, or as a continuous build found later.
        unpublished_since: when the oldest row was loaded that is not in it; None if every row is.
        late_after: when its data become late; None if the mart `freshness` is not built yet.
    """

    batch_id: int
    since: datetime
    data_as_of: datetime
    unpublished_since: datetime | None
    late_after: datetime | None = None
    is_late: bool = False


@dataclass(frozen=True)
class ContinuousStatus:
    """Continuous builds: how often, when the last turn began, how many failed in a row, and when the last one of them did.

    `every_seconds` is what the leading scheduler is configured to; None: off.
    """

    every_seconds: int | None
    checked_at: datetime
    failures: int
    failed_at: datetime | None


@dataclass(frozen=True)
class NightlyRunStatus:
    """A nightly or manual run."""

    scheduled_for: datetime
    is_manual: bool
    status: str
    attempts: int
    started_at: datetime
    ended_at: datetime | None
    batch_id: int | None
    error: str | None


@dataclass(frozen=True)
class ModelRun:
    """What a model wrote in a build, and how many seconds it took."""

    model: str
    rows_inserted: int
    rows_expired: int
    seconds: float


@dataclass(frozen=True)
class LastBuild:
    """The last build, and its models in the order in which they ended.

    `sessions`: of a build that is running, by pid, with the node whose statement runs; the one that runs longest first.
    """

    build: BuildRecord
    models: list[ModelRun]
    sessions: dict[int, str | None]


@dataclass(frozen=True)
class LockHolder:
    """A session in whose way a build can be: it holds locks on tables or views of the warehouse.

    Attributes:
        transaction_started_at, query_started_at, state: None if the login may not see them (see pg_read_all_stats).
        is_blocking: another session waits for it now.
    """

    pid: int
    login: str
    application: str
    state: str | None
    relations: list[str]
    transaction_started_at: datetime | None
    query_started_at: datetime | None
    is_blocking: bool


@dataclass(frozen=True)
class RetentionStatus:
    """What retention has removed from a table. See the comments of app.retention."""

    relation: str
    removed_until: datetime
    ended_at: datetime | None
    rows_removed: int
    total_rows_removed: int
    oldest_kept: datetime | None


@dataclass(frozen=True)
class CompressionStatus:
    """The events of core that are in blocks (app.compressed_events), and the bytes of these blocks."""

    events: int
    blocks: int
    octets: int


@dataclass(frozen=True)
class BatchStatus:
    """Everything as of one moment. `continuous`: None if there were no continuous builds; `runs`: newest first."""

    publication: PublicationStatus | None
    continuous: ContinuousStatus | None
    runs: list[NightlyRunStatus]
    last_build: LastBuild | None
    retention: list[RetentionStatus]
    compression: CompressionStatus
    lock_holders: list[LockHolder]
    advisory_locks: list[AdvisoryLockSession]


def batch_status(settings: Settings, runs: int = 7) -> BatchStatus:
    """Reads the status of the settings' target, with that many of the latest runs."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        return BatchStatus(
            publication=_publication(connection, settings),
            continuous=_continuous(connection, settings.target),
            runs=_latest_runs(connection, settings.target, runs),
            last_build=_last_build(connection, settings.target),
            retention=_retention(connection, settings.target),
            compression=_compression(connection, settings.target),
            lock_holders=_lock_holders(connection, settings),
            advisory_locks=sessions_with_advisory_locks(connection, settings.target),
        )


def _publication(connection: psycopg.Connection, settings: Settings) -> PublicationStatus | None:
    row = connection.execute(
        """
        select
            publication.batch_id,
            publication.changed_at,
            greatest(publications.data_as_of, publications.current_until),
            app.oldest_unpublished_row(publication.target)
        from app.current_publication as publication
        inner join app.publications as publications using (target, batch_id)
        where publication.target = %s
        """,
        (settings.target,),
    ).fetchone()
    if row is None:
        return None
    schema = settings.schema("marts")
    if connection.execute("select to_regclass(%s)", (f'"{schema}".freshness',)).fetchone() == (None,):
        return PublicationStatus(*row)
    late = connection.execute(sql.SQL("select late_after, is_late from {}.freshness").format(sql.Identifier(schema))).fetchone()
    return PublicationStatus(*row, *(late or ()))


def _continuous(connection: psycopg.Connection, target: str) -> ContinuousStatus | None:
    with connection.cursor(row_factory=class_row(ContinuousStatus)) as cursor:
        return cursor.execute(
            "select every_seconds, checked_at, failures, failed_at from app.continuous_builds where target = %s", (target,)
        ).fetchone()


def _latest_runs(connection: psycopg.Connection, target: str, limit: int) -> list[NightlyRunStatus]:
    with connection.cursor(row_factory=class_row(NightlyRunStatus)) as cursor:
        return cursor.execute(
            """
            select scheduled_for, is_manual, status, attempts, started_at, ended_at, batch_id, error
            from app.nightly_runs
            where target = %s
            order by scheduled_for desc
            limit %s
            """,
            (target, limit),
        ).fetchall()


def _last_build(connection: psycopg.Connection, target: str) -> LastBuild | None:
    build = latest_build(connection, target)
    if build is None:
        return None
    with connection.cursor(row_factory=class_row(ModelRun)) as cursor:
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
            (target, build.batch_id),
        ).fetchall()
    return LastBuild(build, models, _sessions(connection, build) if build.status == "running" else {})


def _sessions(connection: psycopg.Connection, build: BuildRecord) -> dict[int, str | None]:
    # a login sees what its own sessions run, which the role that it has taken does not
    connection.execute("set local role none")
    sessions: dict[int, str | None] = dict(connection.execute(BUILD_SESSIONS, (build.invocation_id,)).fetchall())
    connection.execute("set local role mailmart_owner")
    return sessions


def _retention(connection: psycopg.Connection, target: str) -> list[RetentionStatus]:
    with connection.cursor(row_factory=class_row(RetentionStatus)) as cursor:
        return cursor.execute(
            """
            select relation, removed_until, ended_at, rows_removed, total_rows_removed, oldest_kept
            from app.retention
            where target = %s
            order by relation
            """,
            (target,),
        ).fetchall()


def _compression(connection: psycopg.Connection, target: str) -> CompressionStatus:
    with connection.cursor(row_factory=class_row(CompressionStatus)) as cursor:
        found = cursor.execute(
            """
            select
                coalesce(sum(row_count), 0)::bigint as events,
                count(*) as blocks,
                -- of all warehouses, by their events
                coalesce(
                    pg_total_relation_size('app.compressed_events') * sum(row_count)
                    / (select sum(everyones.row_count) from app.compressed_events as everyones),
                    0
                )::bigint as octets
            from app.compressed_events
            where target = %s
            """,
            (target,),
        ).fetchone()
    assert found is not None  # noqa: S101 - the query always returns a row
    return found


def _lock_holders(connection: psycopg.Connection, settings: Settings) -> list[LockHolder]:
    """Sessions that block another one, or whose transaction is open for a while or for an unknown time."""
    schemas = ["raw", "app", *map(settings.schema, ("staging", "core", "marts", "marts_served"))]
    with connection.cursor(row_factory=class_row(LockHolder)) as cursor:
        return cursor.execute(
            """
            select * from app.lock_holders(%s)
            where
                is_blocking
                or transaction_started_at < clock_timestamp() - %s * interval '1 second'
                or transaction_started_at is null
            """,
            (schemas, SECONDS_UNTIL_IN_THE_WAY),
        ).fetchall()
