"""When a nightly run is due: at the same time every day, in UTC, so every day has 24 hours."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta


def latest_due(now: datetime, at: time) -> datetime:
    """The last moment at which a run was due; `now` itself if it is one."""
    today = datetime.combine(now.astimezone(UTC).date(), at, tzinfo=UTC)
    return today if today <= now else today - timedelta(days=1)


def next_due(now: datetime, at: time) -> datetime:
    """The next moment at which a run is due, later than `now`."""
    return latest_due(now, at) + timedelta(days=1)
