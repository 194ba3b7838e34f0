"""What metrics say of builds and of nightly runs, by the warehouse that they are of."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from api.observability.db_metrics import DbMetric


def build_metrics(connection: psycopg.Connection) -> Iterator[DbMetric]:
    """Of the builds."""
    found = connection.execute(
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
        "When the last build that was published ended.",
        [({"target": target}, published_at) for target, published_at, _, _ in found if published_at is not None],
    )
    yield DbMetric(
        "mailmart_last_build_failed",
        "1 where the last build that ended has failed or died, else 0.",
        [
            ({"target": target}, float(last_status in ("failed", "abandoned")))
            for target, _, last_status, _ in found
            if last_status is not None
        ],
    )
    yield DbMetric(
        "mailmart_builds_running",
        "Builds that run, or died and were not found yet.",
        [({"target": target}, running) for target, _, _, running in found],
    )


def nightly_run_metrics(connection: psycopg.Connection) -> Iterator[DbMetric]:
    """Of the nightly runs."""
    found = connection.execute(
        """
        select
            target,
            extract(epoch from max(ended_at) filter (where status = 'succeeded'))::float as succeeded_at,
            (array_agg(status order by ended_at desc) filter (where status <> 'running'))[1] as last_status,
            count(*) filter (where status = 'failed') as failed,
            (array_agg(attempts order by started_at desc))[1] as attempts
        from app.nightly_runs
        -- whoever runs one by hand sees how it ends
        where not is_manual
        group by target
        """
    ).fetchall()
    yield DbMetric(
        "mailmart_last_successful_night_timestamp_seconds",
        "When the last nightly run that succeeded ended.",
        [({"target": target}, succeeded_at) for target, succeeded_at, _, _, _ in found if succeeded_at is not None],
    )
    yield DbMetric(
        "mailmart_last_nightly_run_failed",
        "1 where the last nightly run that ended has failed, else 0.",
        [({"target": target}, float(last_status == "failed")) for target, _, last_status, _, _ in found if last_status],
    )
    yield DbMetric(
        "mailmart_nightly_runs_failed",
        "Nightly runs that have failed.",
        [({"target": target}, failed) for target, _, _, failed, _ in found],
    )
    yield DbMetric(
        "mailmart_last_nightly_run_attempts",
        "Builds that were started for the last nightly run.",
        [({"target": target}, attempts) for target, _, _, _, attempts in found],
    )
