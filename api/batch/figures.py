"""Figures of the nightly runs for metrics, as the database has them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True)
class BatchFigures:
    """Of one target.

    Attributes:
        last_success_at: when the last run that succeeded ended; None where none has.
        last_status: succeeded or failed, of the last run that ended; None where none has.
        failed_runs: how many have failed, in all.
        tries: builds that were started for the last run.
    """

    last_success_at: datetime | None
    last_status: str | None
    failed_runs: int
    tries: int


def batch_figures(connection: psycopg.Connection, target: str) -> BatchFigures:
    """The figures at this moment; mailmart_api and mailmart_worker may ask."""
    with connection.cursor(row_factory=class_row(BatchFigures)) as cursor:
        found = cursor.execute(
            """
            select
                max(ended_at) filter (where status = 'succeeded') as last_success_at,
                (array_agg(status order by ended_at desc) filter (where status <> 'running'))[1] as last_status,
                count(*) filter (where status = 'failed') as failed_runs,
                coalesce((array_agg(tries order by started_at desc))[1], 0) as tries
            from app.nightly_runs
            where target = %s
            """,
            (target,),
        ).fetchone()
    assert found is not None  # noqa: S101 - an aggregate has a row
    return found
