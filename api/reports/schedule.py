"""When a report runs: daily, weekly or monthly, at a local time in a time zone."""

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
# time zones have skipped whole days, so a run can belong to an earlier local date than the one it falls on
MARGIN = 2 * DAY
# how far back the previous run can be
MAX_INTERVAL = {"daily": 2 * DAY, "weekly": 8 * DAY, "monthly": 32 * DAY}


@dataclass(frozen=True)
class Schedule:
    """One run per day, week or month, at the first moment at which the local time is `at` or later.

    If a local time occurs twice on a day, the run is at the first occurrence. If a change of clocks skips it, the run is at the
    moment of the change. If a time zone skipped a whole day, that day has no daily run; a weekly or monthly run of that day is at
    the start of the next day.

    Attributes:
        frequency: daily, weekly or monthly.
        at: the time of day, to the minute.
        timezone: an IANA name.
        weekday: English name, for weekly runs; otherwise None.
        day: 1 to 31, for monthly runs, or the last day of a shorter month; otherwise None.
    """

    frequency: Literal["daily", "weekly", "monthly"]
    at: time
    timezone: str
    weekday: str | None = None
    day: int | None = None

    def next_run(self, moment: datetime) -> datetime:
        """The first run after a moment (UTC)."""
        for day in self._dates(self._local_date(moment) - MARGIN):
            run = self._run_on(day)
            if run is not None and run > moment:
                return run
        raise AssertionError("there is always a next run")

    def previous_run(self, moment: datetime) -> datetime:
        """The last run at or before a moment (UTC)."""
        previous: datetime | None = None
        for day in self._dates(self._local_date(moment) - MAX_INTERVAL[self.frequency] - MARGIN):
            run = self._run_on(day)
            if run is not None and run > moment and previous is not None:
                break
            previous = run or previous
        if previous is None:
            raise AssertionError("there is always a previous run")
        return previous

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def _local_date(self, moment: datetime) -> date:
        return moment.astimezone(self._zone).date()

    def _dates(self, since: date) -> Iterator[date]:
        """The local dates of runs, in order, from a date on."""
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

    def _run_on(self, day: date) -> datetime | None:
        if self.frequency == "daily" and resolve_local_time(datetime.combine(day, time()), self._zone)[1].date() != day:
            return None
        return resolve_local_time(datetime.combine(day, self.at), self._zone)[0]


def resolve_local_time(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The first moment (UTC) at which the local time of a zone is `wall` or later, and the local time at that moment."""
    local = wall.replace(tzinfo=zone)
    moment = local.astimezone(UTC)
    shown = moment.astimezone(zone).replace(tzinfo=None)
    if shown == wall:
        return moment, shown
    # a gap: fold=0 uses the offset before it, fold=1 the one after it; the clocks change between these two moments
    before, after = local.replace(fold=1).astimezone(UTC), moment
    while after - before > timedelta(seconds=1):
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).replace(tzinfo=None) < wall:
            before = middle
        else:
            after = middle
    return after, after.astimezone(zone).replace(tzinfo=None)
