"""Metrics of exports."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from api.exports.repository import STATUSES
from api.observability.db_metrics import DbMetric


def export_metrics(connection: psycopg.Connection) -> Iterator[DbMetric]:
    """Exports by status, and the age of the oldest one that is processing."""
    rows = connection.execute("select status, count(*) from app.exports group by status")
    counts: dict[str, int] = dict(rows.fetchall())
    yield DbMetric(
        "mailmart_exports", "Exports, by status.", [({"status": status}, counts.get(status, 0)) for status in STATUSES]
    )
    row = connection.execute(
        "select coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float from app.exports"
        " where status = 'processing'"
    ).fetchone()
    yield DbMetric(
        "mailmart_exports_oldest_processing_seconds",
        "Seconds since the oldest export that is processing was requested; 0 if there is none.",
        [({}, row[0] if row else 0)],
    )
