"""The database's clock: those of the processes may differ, or be wrong."""

from __future__ import annotations

from datetime import datetime

import psycopg


def database_time(connection: psycopg.Connection) -> datetime:
    """The time of the database now, with its zone."""
    row = connection.execute("select clock_timestamp()").fetchone()
    assert row is not None  # noqa: S101 - the query always returns a row
    moment: datetime = row[0]
    return moment
