"""Lands events in raw.email_events as a mail platform's log does."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from api.database import connect
from api.settings import Settings
from tests.warehouse.events import COLUMNS, Event


def land(settings: Settings, events: Iterable[Event], loaded_at: datetime) -> None:
    """Lands the events in their order, a microsecond apart, so that "first" is defined."""
    with (
        connect(settings, "mailmart_owner") as connection,
        connection.cursor() as cursor,
        cursor.copy(f"copy raw.email_events ({', '.join(COLUMNS)}, loaded_at) from stdin") as copy,
    ):
        for place, event in enumerate(events):
            values = [getattr(event, column) for column in COLUMNS]
            copy.write_row([*values, loaded_at + timedelta(microseconds=place)])
