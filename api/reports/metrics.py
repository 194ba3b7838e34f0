"""What metrics say of deliveries of reports."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from api.observability.db_metrics import DbMetric
from api.reports.repository import CHANNELS, DELIVERY_STATUSES


def delivery_metrics(connection: psycopg.Connection) -> Iterator[DbMetric]:
    """How many there are of each channel and status. Runs are removed with their report: a number can fall."""
    counted = connection.execute("select channel, status, count(*) from app.report_deliveries group by channel, status")
    found = {(channel, status): count for channel, status, count in counted}
    yield DbMetric(
        "mailmart_deliveries",
        "Deliveries of reports, by channel and status; those of a report that was deleted are gone.",
        [
            ({"channel": channel, "status": status}, found.get((channel, status), 0))
            for channel in CHANNELS
            for status in DELIVERY_STATUSES
        ],
    )
