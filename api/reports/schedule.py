"""When a report runs: daily, weekly or monthly, at a time of day in a zone."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
FREQUENCIES = ("daily", "weekly", "monthly")
DAY = timedelta(days=1)
# zones have left out whole days, so a moment can belong to a day a little before the one that it falls on
MARGIN = 2 * DAY
# how far back the last run can lie
LONGEST = {"daily": 2 * DAY, "weekly": 8 * DAY, "monthly": 32 * DAY}


@dataclass(frozen=True)
class Schedule:
    """One run a day, a week or a month; each at the first moment at which the zone's clock shows the time or a later one.

    So a time that a clock shows twice on a day counts the first time only, and one that it jumps over counts at the moment that
    it jumps to. A day that a zone left out altogether has no daily run; a weekly or monthly one that falls on it is made at the
    day's end, which is the next one's beginning.

    Attributes:
        frequency: daily, weekly or monthly.
        at: the time of day, to the minute.
        timezone: an IANA name.
        weekday: of a weekly one, by its English name; None otherwise.
        day: of a monthly one, 1 to 31; in a month that is shorter, its last. None otherwise.
    """

    frequency: Literal["daily", "weekly", "monthly"]
    at: time
    timezone: str
    weekday: str | None = None
    day: int | None = None

    def next_run(self, moment: datetime) -> datetime:
        """The first run after a moment (UTC)."""
        for day in self._days(self._local_date(moment) - MARGIN):
            run = self._run_of(day)
            if run is not None and run > moment:
                return run
        raise AssertionError("days do not end")

    def previous_run(self, moment: datetime) -> datetime:
        """The last run that is not after a moment (UTC)."""
        latest: datetime | None = None
        for day in self._days(self._local_date(moment) - LONGEST[self.frequency] - MARGIN):
            run = self._run_of(day)
            if run is not None and run > moment and latest is not None:
                break
            latest = run or latest
        if latest is None:
            raise AssertionError("days have no beginning")
        return latest

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def _local_date(self, moment: datetime) -> date:
        return moment.astimezone(self._zone).date()

    def _days(self, since: date) -> Iterator[date]:
        """The days on which it runs, in order."""
        if self.frequency == "monthly":
            year, month = since.year, since.month
            while True:
                yield date(year, month, min(self.day or 1, monthrange(year, month)[1]))
                year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        step = DAY
        if self.frequency == "weekly":
            step = 7 * DAY
            since += DAY * ((WEEKDAYS.index(self.weekday or "monday") - since.weekday()) % 7)
        while True:
            yield since
            since += step

    def _run_of(self, day: date) -> datetime | None:
        if self.frequency == "daily" and resolve_local_time(datetime.combine(day, time()), self._zone)[1].date() != day:
            return None
        return resolve_local_time(datetime.combine(day, self.at), self._zone)[0]


def resolve_local_time(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The first moment (UTC) at which a zone's clock shows a time or a later one, and what it shows then."""
    local = wall.replace(tzinfo=zone)
    moment = local.astimezone(UTC)
    shown = moment.astimezone(zone).replace(tzinfo=None)
    if shown == wall:
        return moment, shown
    # a gap: with fold=0 the offset before it holds, with fold=1 the one after it; the clock jumps between the two moments
    before, after = local.replace(fold=1).astimezone(UTC), moment
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).replace(tzinfo=None) < wall:
            before = middle
        else:
            after = middle
    return after, after.astimezone(zone).replace(tzinfo=None)
