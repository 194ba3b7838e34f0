"""Dates and times of results, for sessions whose transactions set their own formats.

psycopg reads a date by the DateStyle that the server has announced. Behind a pooler that drops start-up options, that is the
default of the login, such as German; but each of our transactions sets ISO (db/session.py), and PostgreSQL does not announce what
holds for a transaction only.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import AdaptContext
from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader


class _IsoDateLoader(DateLoader):
    def __init__(self, oid: int, _context: AdaptContext | None = None) -> None:
        # without a connection, it is ISO and UTC
        super().__init__(oid, None)


class _IsoTimestampLoader(TimestampLoader):
    def __init__(self, oid: int, _context: AdaptContext | None = None) -> None:
        super().__init__(oid, None)


class _IsoTimestamptzLoader(TimestamptzLoader):
    def __init__(self, oid: int, _context: AdaptContext | None = None) -> None:
        super().__init__(oid, None)


def read_iso_dates(connection: psycopg.Connection[Any]) -> None:
    """Lets a connection read dates and times as ISO in UTC, whatever the server has announced.

    psycopg's own loaders, which are compiled, stay if the server has announced the same.
    """
    announced = [connection.info.parameter_status(name) or "" for name in ("DateStyle", "TimeZone")]
    if announced[0].startswith("ISO") and announced[1] == "UTC":
        return
    connection.adapters.register_loader("date", _IsoDateLoader)
    connection.adapters.register_loader("timestamp", _IsoTimestampLoader)
    connection.adapters.register_loader("timestamptz", _IsoTimestamptzLoader)
