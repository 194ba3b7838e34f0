"""Metrics of builds and nightly runs, by target: production, or a developer's warehouse."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from api.observability.db_metrics import DbMetric


def build_metrics(connection: psycopg.Connection) -> Iterator[DbMetric]:
    """Metrics of app.batches."""
    rows = connection.execute(
        """
        select
            target,
            extract(epoch from max(ended_at) filter (where status = 'published'))::float as published_at,
            (array_agg(status order by batch_id desc) filter (where status <> 'running'))[1] as last_status,
            count(*) filter (where status = 'running') as running
        from app.batches
        group by target
        """
    ).fetchall()
    yield DbMetric(
        "mailmart_last_published_build_timestamp_seconds",
        "Unix time at which the last published build ended.",
        [({"target": target}, published_at) for target, published_at, _, _ in rows if published_at is not None],
    )
    yield DbMetric(
        "mailmart_last_build_failed",
        "1 if the last build that ended has failed or was abandoned, else 0.",
        [
            ({"target": target}, float(last_status in ("failed", "abandoned")))
            for target, _, last_status, _ in rows
            if last_status is not None
        ],
    )
    yield DbMetric(
        "mailmart_builds_running",
        "Builds that are running, including dead ones that no later build has found yet.",
        [({"target": target}, running) for target, _, _, running in rows],
    )


def continuous_build_metrics(connection: psycopg.Connection) -> Iterator[DbMetric]:
    """The age of unpublished data of every published warehouse, and failures of continuous builds, if they are on."""
    rows = connection.execute(
        """
        select
            target,
            coalesce(extract(epoch from clock_timestamp() - app.oldest_unpublished_row(target)), 0)::float as age
        from app.current_publication
        """
    ).fetchall()
    yield DbMetric(
        "mailmart_oldest_unpublished_row_age_seconds",
        "How long ago the oldest row was received that is not in the published batch; 0 if every row is.",
        [({"target": target}, max(age, 0.0)) for target, age in rows],
    )
    rows = connection.execute(
        "select target, failures from app.continuous_builds where checked_at > clock_timestamp() - interval '1 day'"
    ).fetchall()
    yield DbMetric(
        "mailmart_continuous_build_failures",
        "Continuous builds that failed in a row; only if there were any in the last day.",
        [({"target": target}, failures) for target, failures in rows],
    )


def nightly_run_metrics(connection: psycopg.Connection) -> Iterator[DbMetric]:
    """Metrics of app.nightly_runs, without manual runs: who starts one sees how it ends."""
    rows = connection.execute(
        """
        select
            target,
            extract(epoch from max(ended_at) filter (where status = 'succeeded'))::float as succeeded_at,
            (array_agg(status order by ended_at desc) filter (where status <> 'running'))[1] as last_status,
            count(*) filter (where status = 'failed') as failed,
            (array_agg(attempts order by started_at desc))[1] as attempts
        from app.nightly_runs
        where not is_manual
        group by target
        """
    ).fetchall()
    yield DbMetric(
        "mailmart_last_successful_nightly_run_timestamp_seconds",
        "Unix time at which the last successful nightly run ended.",
        [({"target": target}, succeeded_at) for target, succeeded_at, _, _, _ in rows if succeeded_at is not None],
    )
    yield DbMetric(
        "mailmart_last_nightly_run_failed",
        "1 if the last nightly run that ended has failed, else 0.",
        [({"target": target}, float(last_status == "failed")) for target, _, last_status, _, _ in rows if last_status],
    )
    yield DbMetric(
        "mailmart_nightly_runs_failed",
        "Number of failed nightly runs.",
        [({"target": target}, failed) for target, _, _, failed, _ in rows],
    )
    yield DbMetric(
        "mailmart_last_nightly_run_attempts",
        "Builds started for the latest nightly run.",
        [({"target": target}, attempts) for target, _, _, _, attempts in rows],
    )
