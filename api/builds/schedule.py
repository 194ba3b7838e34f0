"""When a night is due: the same time every day, in UTC, so no day has another length."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta


def latest_due(now: datetime, at: time) -> datetime:
    """The last moment at which a run was due; `now` itself when it is one."""
    today = datetime.combine(now.astimezone(UTC).date(), at, tzinfo=UTC)
    return today if today <= now else today - timedelta(days=1)


def next_due(now: datetime, at: time) -> datetime:
    """The next moment at which a run is due, later than `now`."""
    return latest_due(now, at) + timedelta(days=1)
