"""Metrics of exports."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from api.exports.repository import STATUSES
from api.observability.db_metrics import DbMetric


def export_metrics(connection: psycopg.Connection) -> Iterator[DbMetric]:
    """Exports by status, and the age of the oldest one that is processing."""
    rows = connection.execute("select status, exports, oldest_seconds from app.export_metrics()").fetchall()
    counts = {status: count for status, count, _ in rows}
    yield DbMetric(
        "mailmart_exports", "Exports, by status.", [({"status": status}, counts.get(status, 0)) for status in STATUSES]
    )
    yield DbMetric(
        "mailmart_exports_oldest_processing_seconds",
        "Seconds since the oldest export that is processing was requested; 0 if no export is processing.",
        [({}, next((seconds for status, _, seconds in rows if status == "processing"), 0))],
    )
