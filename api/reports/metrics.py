"""Metrics of report deliveries."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from api.observability.db_metrics import DbMetric
from api.reports.repository import CHANNELS, DELIVERY_STATUSES


def delivery_metrics(connection: psycopg.Connection) -> Iterator[DbMetric]:
    """Deliveries by channel and status. A deleted report takes its deliveries with it, so the numbers can fall."""
    rows = connection.execute("select channel, status, deliveries from app.delivery_metrics()")
    counts = {(channel, status): count for channel, status, count in rows}
    yield DbMetric(
        "mailmart_deliveries",
        "Report deliveries, by channel and status; without those of deleted reports.",
        [
            ({"channel": channel, "status": status}, counts.get((channel, status), 0))
            for channel in CHANNELS
            for status in DELIVERY_STATUSES
        ],
    )
