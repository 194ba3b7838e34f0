"""Compresses events in a test, and reads what is compressed."""

from __future__ import annotations

import dataclasses
import threading

from api.builds.compression import Pace, compress_old_rows
from api.db.connection import connect
from api.settings import Settings

NEVER = threading.Event()
# small transactions, so that there are several
SMALL = Pace(rows=200, seconds_to_wait=0)


def compress(settings: Settings, days: int = 1, pace: Pace = SMALL, of_table: str = "fct_email_events") -> int:
    """Compresses what was loaded more than so many days ago, and returns how many rows of a table."""
    compressed = compress_old_rows(dataclasses.replace(settings, compress_after=days), NEVER, pace)
    assert compressed is not None
    return compressed[of_table]


def publish(settings: Settings) -> None:
    """Publishes the last build, which ran without tests."""
    with connect(settings, "mailmart_owner") as connection:
        connection.execute(
            "select app.publish_batch(max(batch_id), max(batch_id), '{\"nodes\": {}}') from app.batches where target = %s",
            (settings.target,),
        )
        connection.execute(
            "update app.batches set status = 'published'"
            " where batch_id = (select max(batch_id) from app.batches where target = %s)",
            (settings.target,),
        )


def compressed_events(settings: Settings) -> int:
    """How many events of the warehouse are in blocks."""
    with connect(settings, "mailmart_owner") as connection:
        row = connection.execute(
            "select coalesce(sum(row_count), 0)::int from app.compressed_events where target = %s", (settings.target,)
        ).fetchone()
    assert row is not None
    number: int = row[0]
    return number


def compress_everything(settings: Settings) -> int:
    """Compresses all events that can be, however new they are, and returns how many."""
    with connect(settings, "mailmart_owner", autocommit=True) as connection:
        total = 0
        while True:
            row = connection.execute(
                "select app.compress_events(%s, %s, clock_timestamp(), 200)",
                (settings.target, f"{settings.schema('core')}.fct_email_events"),
            ).fetchone()
            assert row is not None
            rows: int = row[0]
            total += rows
            if rows == 0:
                return total
