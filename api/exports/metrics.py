"""What metrics say of exports."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from api.exports.repository import STATUSES
from api.observability.db_metrics import DbMetric


def export_metrics(connection: psycopg.Connection) -> Iterator[DbMetric]:
    """How many there are of each status, and since when the oldest of those that are being made has been."""
    counted = connection.execute("select status, count(*) from app.exports group by status")
    found: dict[str, int] = dict(counted.fetchall())
    yield DbMetric("mailmart_exports", "Exports, by status.", [({"status": status}, found.get(status, 0)) for status in STATUSES])
    row = connection.execute(
        "select coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float from app.exports"
        " where status = 'processing'"
    ).fetchone()
    yield DbMetric(
        "mailmart_exports_oldest_processing_seconds",
        "Since when the oldest export that is not ended was asked for; 0 without any.",
        [({}, row[0] if row else 0)],
    )
